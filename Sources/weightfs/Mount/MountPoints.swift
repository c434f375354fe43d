import Glibc

/// Reads the mounted file systems from proc_pid_mountinfo(5).
enum MountPoints {
  struct MountPoint {
    let path: String
    /// `major:minor`.
    let device: String
    let kind: String
    let source: String
    /// The user who mounted it, if the file system tells.
    let user: UInt32?

    /// Whether this user or the superuser mounted it; another user's mount can show anything.
    var isOwn: Bool { user == geteuid() || user == 0 }
    var isWeightfs: Bool { kind == "fuse.weightfs" }
    /// Whether the mount shows the tree of all registries, for a local registry.
    func isTree(of root: String) -> Bool { isWeightfs && source == MountPoints.treeSource(root) }
  }

  /// Returns the source that a mount of the tree shows.
  static func treeSource(_ root: String) -> String { "weightfs:\(AbsolutePath.of(root))" }

  static func all() -> [MountPoint] {
    guard let table = fopen("/proc/self/mountinfo", "re") else { return [] }
    defer { fclose(table) }
    var found: [MountPoint] = []
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(line) }
    while getline(&line, &capacity, table) > 0, let line {
      let fields = String(cString: line).split(separator: " ")
      guard fields.count > 6, let dash = fields.firstIndex(of: "-"), dash + 2 < fields.count else { continue }
      found.append(
        MountPoint(
          path: unescape(fields[4]),
          device: String(fields[2]),
          kind: String(fields[dash + 1]),
          source: unescape(fields[dash + 2]),
          user: fields.last?.split(separator: ",").lazy.compactMap { option in
            option.hasPrefix("user_id=") ? UInt32(option.dropFirst("user_id=".count)) : nil
          }.first
        )
      )
    }
    return found
  }

  /// Decodes octal escapes such as `\040`.
  private static func unescape(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), rest.count >= 3,
        let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
      {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
