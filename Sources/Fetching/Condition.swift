import Content
import Synchronization

/// What became of a flight, apart from its bytes.
final class Condition: Sendable {
  private struct State {
    var isWidened = false
    var hasDeclined = false
    var failure: ContentError?
  }

  private let state = Mutex(State())

  var isWidened: Bool { state.withLock { $0.isWidened } }
  /// The stream was ended because nobody wanted more of it.
  var hasDeclined: Bool { state.withLock { $0.hasDeclined } }
  func decline() { state.withLock { $0.hasDeclined = true } }
  var failure: ContentError? { state.withLock { $0.failure } }

  /// True the first time.
  func widen() -> Bool {
    state.withLock { state in
      defer { state.isWidened = true }
      return !state.isWidened
    }
  }

  func fail(_ error: ContentError) { state.withLock { $0.failure = error } }
}

/// Resumes somebody who waits for a whole blob.
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
