import Glibc
package import SystemPackage

/// The kernel's table of mounted file systems (proc_pid_mountinfo(5)).
package enum MountTable {
  /// Whether a path lies on NFS.
  package static func isOnNetwork(_ path: FilePath) -> Bool {
    guard let real = path.withPlatformString({ realpath($0, nil) }) else { return false }
    defer { free(real) }
    guard let table = fopen("/proc/self/mountinfo", "re") else { return false }
    defer { fclose(table) }
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(line) }
    var text = ""
    while getline(&line, &capacity, table) > 0, let line { text += String(cString: line) }
    return isOnNetwork(String(cString: real), table: text)
  }

  /// Returns the same from the text of a table: the longest mount point above the path decides, the last one
  /// if several are equal.
  package static func isOnNetwork(_ path: String, table: String) -> Bool {
    var longest = -1
    var kind = Substring()
    for line in table.split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard fields.count > 6, let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count else { continue }
      let point = fields[4]
      let isAbove = point == "/" || path == point || path.hasPrefix("\(point)/")
      guard isAbove, point.utf8.count >= longest else { continue }
      longest = point.utf8.count
      kind = fields[dash + 1]
    }
    return kind == "nfs" || kind == "nfs4"
  }
}
