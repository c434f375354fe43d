import Glibc
import SystemPackage

/// Starts the mount as a separate process and waits until it is ready.
enum BackgroundProcess {
  // POSIX_SPAWN_SETSID, which <spawn.h> declares only with _GNU_SOURCE.
  private static let newSession: Int16 = 0x80
  private static let readyDescriptor: Int32 = 3

  /// Starts this program again with `--foreground`.
  ///
  /// Not a fork, as that would copy locks that other threads hold.
  ///
  /// - Parameters:
  ///   - arguments: The arguments of this process.
  ///   - log: The log file of the new process, for messages.
  ///   - openLog: Opens the log file for appending.
  /// - Returns: The exit status of the command.
  static func start(
    arguments: [String],
    log: FilePath,
    _ openLog: () throws(Errno) -> FileDescriptor
  ) -> Int32 {
    let logDescriptor: FileDescriptor
    do throws(Errno) {
      logDescriptor = try openLog()
    } catch {
      Terminal.printError("weightfs: cannot open the log \(log): \(error)")
      return 1
    }
    // The child has its own copy; nothing was written through this one.
    defer { try? logDescriptor.close() }
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { return 1 }
    let result = spawn(arguments, log: logDescriptor.rawValue, ready: ends[1])
    close(ends[1])
    guard result == 0 else {
      Terminal.printError("weightfs: cannot start the background process: \(Errno(rawValue: result))")
      return 1
    }
    let message = readAll(ends[0])
    close(ends[0])
    if message == "ready\n" { return 0 }
    if let space = message.firstIndex(of: " "), let status = Int32(message[..<space]) {
      // A part of the message may come from a registry or a layout.
      let text = message[message.index(after: space)...]
      Terminal.printError(String(text.hasSuffix("\n") ? text.dropLast() : text))
      return status
    }
    Terminal.printError("weightfs: the background process ended before it was ready; its log is \(log)")
    return 1
  }

  /// Starts the process; returns 0 or an errno.
  private static func spawn(_ arguments: [String], log: Int32, ready: Int32) -> Int32 {
    closeOnExec()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, log, STDERR_FILENO)
    posix_spawn_file_actions_adddup2(&actions, ready, readyDescriptor)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // The calling thread may block signals, but the daemon must receive them.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, newSession | Int16(POSIX_SPAWN_SETSIGMASK))
    // Directly after the command's name, so that they are not after a `--`.
    var words = arguments
    words.insert(
      contentsOf: ["--foreground", "--ready-descriptor", "\(readyDescriptor)"],
      at: min(2, words.count)
    )
    var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    argv.append(nil)
    defer { for word in argv { free(word) } }
    var child = pid_t()
    return posix_spawn(&child, "/proc/self/exe", &actions, &attributes, argv, environ)
  }

  /// Keeps the new process from inheriting descriptors: a pipe that a daemon holds open would never reach its
  /// end for the reader.
  private static func closeOnExec() {
    guard let folder = opendir("/proc/self/fd") else { return }
    defer { closedir(folder) }
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if let descriptor = Int32(name), descriptor > 2 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    }
  }

  private static func readAll(_ descriptor: Int32) -> String {
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      text += buffer[..<count]
    }
    return String(decoding: text, as: UTF8.self)
  }
}
