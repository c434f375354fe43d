import Locking

extension TransferThread {
  /// Sends a request and collects a small response.
  ///
  /// - Parameters:
  ///   - request: The request.
  ///   - limit: The maximum size of the body in bytes; a longer body causes an error before it is completely
  ///     read.
  /// - Throws: `HTTPError`.
  package func send(
    _ request: HTTPRequest,
    limit: Int
  ) async throws(HTTPError) -> (response: HTTPResponse, body: [UInt8]) {
    let collector = Collector(limit: limit)
    return try await perform(request, collector) { collector.setContinuation($0) }.get()
  }

  /// Sends a request and waits until its receiver has finished; a cancelled task cancels the request.
  ///
  /// - Parameters:
  ///   - request: The request.
  ///   - receiver: Receives the response; its `finish` resumes the continuation.
  ///   - attach: Gives the receiver its continuation, before the request starts.
  package func perform<Value: Sendable>(
    _ request: HTTPRequest,
    _ receiver: any ResponseReceiver,
    _ attach: (CheckedContinuation<Value, Never>) -> Void
  ) async -> Value {
    let identifier = Mutex<UInt64?>(nil)
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        attach(continuation)
        let started = start(request, receiver: receiver)
        identifier.withLock { $0 = started }
        if Task.isCancelled { cancel(started) }
      }
    } onCancel: {
      if let identifier = identifier.withLock({ $0 }) { cancel(identifier) }
    }
  }
}

private final class Collector: ResponseReceiver {
  typealias Outcome = Result<(response: HTTPResponse, body: [UInt8]), HTTPError>

  private struct State {
    var response: HTTPResponse?
    var body: [UInt8] = []
    var isTooLong = false
    var continuation: CheckedContinuation<Outcome, Never>?
  }

  private let limit: Int
  private let state = Mutex(State())

  init(limit: Int) { self.limit = limit }

  func setContinuation(_ continuation: CheckedContinuation<Outcome, Never>) {
    state.withLock { $0.continuation = continuation }
  }

  func receive(_ response: HTTPResponse) -> Bool {
    state.withLock { state in
      state.response = response
      // Reserved pages cost nothing until they are written; growing step by step would copy the body several
      // times.
      if let length = response.contentLength, length > 0, length <= Int64(limit) {
        state.body.reserveCapacity(Int(length))
      }
      return true
    }
  }

  func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
    state.withLock { state in
      guard state.body.count + bytes.count <= limit else {
        state.isTooLong = true
        return false
      }
      state.body.append(contentsOf: bytes)
      return true
    }
  }

  func finish(_ error: HTTPError?) {
    let (continuation, outcome): (CheckedContinuation<Outcome, Never>?, Outcome) = state.withLock { state in
      defer { state.continuation = nil }
      if state.isTooLong {
        let place = state.response.map { "\($0.url)" } ?? ""
        return (
          state.continuation, .failure(HTTPError(.tooLong, "\(place): the body has more than \(limit) bytes"))
        )
      }
      if let error { return (state.continuation, .failure(error)) }
      guard let response = state.response else {
        return (state.continuation, .failure(HTTPError(.broken, "no response")))
      }
      return (state.continuation, .success((response, state.body)))
    }
    continuation?.resume(returning: outcome)
  }
}
