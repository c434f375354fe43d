import Content
import Locking

/// Resumes a task that waits for a complete blob, or for a range of it.
final class CompletionResponder: ReadResponder {
  private let continuation: Mutex<CheckedContinuation<Result<Void, ContentError>, Never>?>

  init(_ continuation: CheckedContinuation<Result<Void, ContentError>, Never>) {
    self.continuation = Mutex(continuation)
  }

  func answer(_ token: UInt, file descriptor: Int32, offset: Int64, count: Int, keepsPages: Bool) {
    resume(.success(()))
  }
  func answer(_ token: UInt, bytes: UnsafeRawBufferPointer) { resume(.success(())) }
  func answer(_ token: UInt, error: ContentError) { resume(.failure(error)) }

  private func resume(_ result: Result<Void, ContentError>) {
    continuation.withLock { $0.take() }?.resume(returning: result)
  }
}
