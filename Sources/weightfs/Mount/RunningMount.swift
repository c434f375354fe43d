import Glibc

/// Finds the daemon that serves a mount point.
enum RunningMount {
  /// Returns the arguments of the daemon, or nil if this user cannot see one.
  static func arguments(at mountPoint: String) -> MountArguments? {
    guard let folder = opendir("/proc") else { return nil }
    defer { closedir(folder) }
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard name.allSatisfy(\.isNumber), let words = words(of: name), words.count > 2, words[1] == "mount",
        words.contains("--ready-descriptor") || words.contains("--foreground")
      else { continue }
      let arguments = MountArguments(words.dropFirst(2))
      if arguments.places.last == mountPoint { return arguments }
    }
    return nil
  }

  private static func words(of process: String) -> [String]? {
    guard let file = fopen("/proc/\(process)/cmdline", "re") else { return nil }
    defer { fclose(file) }
    var found: [String] = []
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(line) }
    while getdelim(&line, &capacity, 0, file) > 0, let line { found.append(String(cString: line)) }
    return found
  }
}
