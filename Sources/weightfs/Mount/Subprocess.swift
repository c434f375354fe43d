import Content
import Glibc
import SystemPackage

/// Runs other programs.
enum Subprocess {
  /// Runs a program from PATH, waits for it, and returns its exit status.
  static func run(_ words: [String]) throws(ContentError) -> Int32 {
    var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    argv.append(nil)
    defer { for word in argv { free(word) } }
    var child = pid_t()
    let result = posix_spawnp(&child, words[0], nil, nil, argv, environ)
    guard result == 0 else {
      throw ContentError(
        .disk,
        words[0],
        "cannot be started: \(Errno(rawValue: result))",
        advice: "Install fuse3"
      )
    }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 {
      if errno != EINTR { return 1 }
    }
    return status & 0x7f == 0 ? (status >> 8) & 0xff : 1
  }
}
