import Glibc

/// What is to be known of a thread that waits in the kernel.
package enum CallerState {
  /// Whether a thread has SIGKILL pending, or is gone: the kernel gives SIGKILL to every thread of a
  /// process that a signal ends.
  ///
  /// A program with a handler for its signal is left alone: it does not expect EINTR of a regular file.
  ///
  /// - Parameter thread: its number in this process' namespace.
  package static func isBeingKilled(_ thread: Int32) -> Bool {
    guard let file = fopen("/proc/\(thread)/status", "re") else {
      // Gone; where /proc does not show other users' processes, nothing is known of it.
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
