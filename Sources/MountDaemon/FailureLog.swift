import FileSystem
import Logging
import SystemPackage
import Telemetry

/// The one place that tells of a failed operation.
enum FailureLog {
  static func note(_ error: FileSystemError, operation: String, path: String, metrics: Metrics, log: Logger) {
    guard error.isWorthLogging, let cause = error.cause else { return }
    metrics.failedOperations.add()
    log.error(
      "an operation failed",
      metadata: [
        "operation": "\(operation)", "path": "\(path)", "errno": "\(error.errno)", "reason": "\(cause)",
      ]
    )
  }
}
