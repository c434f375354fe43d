import Content
import FUSE
import FileSystem
import Logging
import SystemPackage
import Telemetry

/// Answers reads of the kernel with FUSE replies.
final class FUSEReadResponder: ReadResponder {
  private let metrics: Metrics
  private let log: Logger

  init(metrics: Metrics, log: Logger) {
    self.metrics = metrics
    self.log = log
  }

  func answer(_ token: UInt, file descriptor: Int32, offset: Int64, count: Int, keepsPages: Bool) {
    FUSEReads.answer(token, file: descriptor, offset: offset, count: count, keepsPages: keepsPages)
  }

  func answer(_ token: UInt, bytes: UnsafeRawBufferPointer) { FUSEReads.answer(token, bytes: bytes) }

  func answer(_ token: UInt, error: ContentError) {
    let failure = FileSystemError(error)
    FUSEReads.answer(token, errno: failure.errno.rawValue)
    FailureLog.note(failure, operation: "read", path: error.subject, metrics: metrics, log: log)
  }
}
