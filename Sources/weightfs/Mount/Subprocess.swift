import Content
import Glibc
import SystemPackage

/// Runs other programs.
enum Subprocess {
  /// The status of a program that was killed after its time limit, as timeout(1) gives it.
  static let timedOut: Int32 = 124
  // Microseconds.
  private static let pollInterval: UInt32 = 10_000

  /// This program, also after its file was replaced by an upgrade.
  private static let ownPath = "/proc/self/exe"

  /// Reads through a mount in a child process, as the reads of a mount that does not answer cannot be ended.
  ///
  /// - Parameters:
  ///   - path: A path below the mount.
  ///   - isDeep: Reads the first bytes of the files below the path.
  ///   - limit: The time after which the child is killed.
  ///   - isQuiet: Discards the reason of a failure.
  /// - Returns: The exit status of the child.
  static func readThrough(
    _ path: String,
    isDeep: Bool = false,
    limit: Duration,
    isQuiet: Bool = false
  ) throws(ContentError) -> Int32 {
    try run(
      [ownPath, "read-through"] + (isDeep ? ["--deep"] : []) + ["--", path],
      missing: "Start the daemon again: its program was removed",
      isQuiet: isQuiet,
      limit: limit
    )
  }

  /// Runs a program from PATH, waits for it, and returns its exit status.
  ///
  /// - Parameters:
  ///   - words: The program and its arguments.
  ///   - missing: Advice if the program does not exist.
  ///   - isQuiet: Discards what the program prints.
  ///   - limit: The time after which the program is killed, with status 124; nil for none.
  /// - Throws: `ContentError` if the program cannot be started.
  static func run(
    _ words: [String],
    missing: String = "Install fuse3",
    isQuiet: Bool = false,
    limit: Duration? = nil
  ) throws(ContentError) -> Int32 {
    var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    argv.append(nil)
    defer { for word in argv { free(word) } }
    var child = pid_t()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if isQuiet {
      for descriptor in [STDOUT_FILENO, STDERR_FILENO] {
        posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_WRONLY, 0)
      }
    }
    let result = posix_spawnp(&child, words[0], &actions, nil, argv, environ)
    guard result == 0 else {
      throw ContentError(
        .disk,
        words[0],
        "cannot be started: \(Errno(rawValue: result))",
        advice: missing
      )
    }
    var status: Int32 = 0
    let end = limit.map { ContinuousClock.now + $0 }
    while true {
      let ended = waitpid(child, &status, end == nil ? 0 : WNOHANG)
      if ended == child { break }
      if ended < 0, errno != EINTR { return 1 }
      guard let end, ended == 0 else { continue }
      guard .now < end else {
        // A process in a call that cannot be interrupted ends later; it is not waited for.
        kill(child, SIGKILL)
        usleep(pollInterval)
        _ = waitpid(child, &status, WNOHANG)
        return timedOut
      }
      usleep(pollInterval)
    }
    return status & 0x7f == 0 ? (status >> 8) & 0xff : 1
  }
}
