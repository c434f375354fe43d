import Locking

/// Starts requests in the order of the queue.
final class FetchScheduler: Sendable {
  private struct State {
    var queue = FlightQueue()
    var starts: [UInt64: @Sendable () -> Void] = [:]
  }

  private let state = Mutex(State())
  private let lastIdentifier = Atomic<UInt64>(0)

  /// Returns a number unique among flights and blobs; needs no lock, as callers hold the lock of a blob.
  func makeIdentifier() -> UInt64 { lastIdentifier.add(1, ordering: .relaxed).newValue }

  /// Adds requests; each is started once, by this call or a later call of any caller.
  ///
  /// - Parameter flights: The requests and the closures that start them; a closure must not block.
  func submit(_ flights: [(flight: FlightQueue.Flight, start: @Sendable () -> Void)]) {
    update { state in
      for (flight, start) in flights {
        state.queue.enqueue(flight)
        state.starts[flight.identifier] = start
      }
    }
  }

  /// Ends a request, or removes one that was not sent.
  func finish(_ identifier: UInt64) {
    update { state in
      state.queue.finish(identifier)
      state.starts[identifier] = nil
    }
  }

  /// Lets the next request start: this one has few bytes left.
  func release(_ identifier: UInt64) { update { $0.queue.release(identifier) } }

  func promote(_ identifier: UInt64, to purpose: FlightQueue.Purpose) {
    update { $0.queue.promote(identifier, to: purpose) }
  }

  func received(_ count: Int, from link: String) {
    let now = ContinuousClock.now
    let mayStartMore = state.withLock { state in
      let before = (state.queue.limit(of: link).value, state.queue.lastProgress(of: link) != nil)
      state.queue.received(count, from: link, now: now)
      return before != (state.queue.limit(of: link).value, true)
    }
    if mayStartMore { update { _ in } }
  }

  /// Notes that the endpoint answers ranges, or that its requests wait for blocks of another process.
  func prove(_ link: String) { update { $0.queue.prove(link) } }

  /// Notes that the endpoint answers ranges with complete blobs.
  func disprove(_ link: String) { state.withLock { $0.queue.disprove(link) } }

  func throttled(_ link: String) {
    let now = ContinuousClock.now
    state.withLock { $0.queue.throttled(link, now: now) }
  }

  func firstByte(after time: Duration, from link: String) {
    let now = ContinuousClock.now
    state.withLock { $0.queue.firstByte(after: time, from: link, now: now) }
  }

  func limit(of link: String) -> ParallelLimit { state.withLock { $0.queue.limit(of: link) } }
  func lastProgress(of link: String) -> ContinuousClock.Instant? {
    state.withLock { $0.queue.lastProgress(of: link) }
  }
  var blobCount: Int { state.withLock { $0.queue.blobCount } }

  private func update(_ body: (inout State) -> Void) {
    let starts = state.withLock { state in
      body(&state)
      return state.queue.next().compactMap { state.starts.removeValue(forKey: $0) }
    }
    for start in starts { start() }
  }
}
