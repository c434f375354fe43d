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
    let state = Mutex<UInt64?>(nil)
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        collector.setContinuation(continuation)
        let identifier = start(request, receiver: collector)
        state.withLock { $0 = identifier }
        if Task.isCancelled { cancel(identifier) }
      }
    } onCancel: {
      if let identifier = state.withLock({ $0 }) { cancel(identifier) }
    }
    return try result.get()
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
