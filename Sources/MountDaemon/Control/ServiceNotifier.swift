import Glibc

/// Tells systemd the state of the daemon (sd_notify(3)).
package struct ServiceNotifier: Sendable {
  private let path: String
  /// The interval in which systemd expects a sign of life; nil if it expects none.
  package let watchdogInterval: Duration?

  /// Reads the socket from the environment.
  ///
  /// - Parameters:
  ///   - environment: The environment of the process.
  ///   - process: The number of the process: a watchdog for another process is ignored.
  /// - Returns: nil if systemd does not expect messages.
  package init?(environment: [String: String], process: Int32 = getpid()) {
    guard let path = environment["NOTIFY_SOCKET"], path.hasPrefix("/") || path.hasPrefix("@") else {
      return nil
    }
    self.path = path
    let isForOther = environment["WATCHDOG_PID"].map { Int32($0) != process } ?? false
    let microseconds = isForOther ? nil : environment["WATCHDOG_USEC"].flatMap { Int64($0) }
    watchdogInterval = microseconds.flatMap { $0 > 0 ? .microseconds($0) : nil }
  }

  /// Sends a message, such as `READY=1`.
  ///
  /// A message that cannot be sent is lost: systemd then ends the service when its time is over.
  package func send(_ message: String) {
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    guard SocketAddress.connect(descriptor, unix: path) else { return }
    let bytes = Array(message.utf8)
    _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
  }
}
