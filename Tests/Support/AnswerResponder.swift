package import Content
import Foundation
import Synchronization

/// Converts an answer to bytes.
package final class AnswerResponder: ReadResponder {
  private let continuation: Mutex<CheckedContinuation<Result<[UInt8], ContentError>, Never>?>

  /// Creates a responder that resumes a task with the answer.
  package init(_ continuation: CheckedContinuation<Result<[UInt8], ContentError>, Never>) {
    self.continuation = Mutex(continuation)
  }

  package func answer(_ token: UInt, file descriptor: Int32, offset: Int64, count: Int, keepsPages: Bool) {
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      filled = max(0, pread(descriptor, buffer.baseAddress, count, off_t(offset)))
    }
    resume(.success(bytes))
  }
  package func answer(_ token: UInt, bytes: UnsafeRawBufferPointer) { resume(.success(Array(bytes))) }
  package func answer(_ token: UInt, error: ContentError) { resume(.failure(error)) }

  private func resume(_ result: Result<[UInt8], ContentError>) {
    continuation.withLock { $0.take() }?.resume(returning: result)
  }
}
