import Content
import FileSystem
import Logging
import SystemPackage
import Telemetry

/// Logs failed operations: at most one line a minute for each file and cause.
enum FailureLog {
  private static let limiter = MessageLimiter()
  // Long enough to be told once, short enough for a log that is rotated every day.
  private static let lastingInterval: Duration = .seconds(86_400)

  static func note(_ error: FileSystemError, operation: String, path: String, metrics: Metrics, log: Logger) {
    guard error.isWorthLogging, let cause = error.cause else { return }
    metrics.failedOperations.add()
    metrics.errors.add(["\(error.errno)", "\(cause.code)"])
    RecentFailures.shared.note(operation: operation, path: path, errno: "\(error.errno)", reason: "\(cause)")
    let interval = cause.isLasting ? lastingInterval : nil
    guard let suppressed = limiter.admit("\(operation) \(path) \(cause.code)", interval: interval) else {
      return
    }
    var metadata: Logger.Metadata = [
      "operation": "\(operation)", "path": "\(path)", "errno": "\(error.errno)", "reason": "\(cause)",
    ]
    if suppressed > 0 { metadata["repeated"] = "\(suppressed)" }
    log.error("operation failed", metadata: metadata)
  }
}
