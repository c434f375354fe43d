import Glibc

/// The state of a thread that waits in the kernel.
package enum CallerState {
  /// Returns whether a thread has SIGKILL pending or has exited.
  ///
  /// The kernel sends SIGKILL to every thread of a process that a signal terminates. A program with a handler
  /// for its signal is not interrupted: it does not expect EINTR from a regular file.
  ///
  /// - Parameter thread: The thread ID in the namespace of this process.
  package static func isBeingKilled(_ thread: Int32) -> Bool {
    guard let file = fopen("/proc/\(thread)/status", "re") else {
      // The thread has exited, unless /proc hides the processes of other users.
      return errno == ENOENT && kill(thread, 0) != 0 && errno == ESRCH
    }
    defer { fclose(file) }
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(line) }
    while getline(&line, &capacity, file) > 0, let line {
      let text = String(cString: line)
      guard text.hasPrefix("SigPnd:") || text.hasPrefix("ShdPnd:") else { continue }
      let digits = text.dropFirst(7).filter { $0.isHexDigit }
      if let mask = UInt64(digits, radix: 16), mask & (1 << UInt64(SIGKILL - 1)) != 0 { return true }
    }
    return false
  }
}
