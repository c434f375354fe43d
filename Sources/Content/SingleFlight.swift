import Locking

/// Runs one piece of work for all callers that ask for the same key at the same time.
///
/// A caller whose task is cancelled returns at once, with `cancelled`. Work that no caller waits for any more is
/// cancelled, unless it `outlivesCallers`. Results are not kept: work that is to be remembered stores its result itself,
/// before it ends.
package final class SingleFlight<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  package typealias Work = @Sendable () async throws(ContentError) -> Value

  private typealias Answer = Result<Value, ContentError>?

  private struct Flight {
    let number: UInt64
    let begun = ContinuousClock.now
    var task: Task<Void, Never>?
    var callers: [UInt64: CheckedContinuation<Answer, Never>] = [:]
  }

  private struct State {
    /// The flights that new callers join.
    var current: [Key: UInt64] = [:]
    var flights: [UInt64: Flight] = [:]
    /// The flight that each caller waits for.
    var homes: [UInt64: UInt64] = [:]
    var next: UInt64 = 0

    mutating func makeNumber() -> UInt64 {
      next += 1
      return next
    }
  }

  private let outlivesCallers: Bool
  private let state = Mutex(State())

  /// Makes an object without work.
  ///
  /// - Parameter outlivesCallers: Whether work goes on after its last caller has left.
  package init(outlivesCallers: Bool = false) { self.outlivesCallers = outlivesCallers }

  /// Returns the result of the work in flight for a key, or of new work.
  ///
  /// - Parameters:
  ///   - key: The key.
  ///   - isFresh: Whether new work is begun beside the work in flight.
  ///   - work: Begun if there is none.
  /// - Throws: `ContentError` of the work; `cancelled` if the task of the caller is cancelled.
  package func value(
    for key: Key,
    isFresh: Bool = false,
    _ work: @escaping Work
  ) async throws(ContentError) -> Value {
    guard let answer = await answer(key, isFresh: isFresh, patience: nil, work) else {
      throw ContentError(.cancelled, "", "the request was cancelled")
    }
    return try answer.get()
  }

  /// Returns the result like `value`, or nil if it is not there a time after the work began.
  ///
  /// - Parameters:
  ///   - key: The key.
  ///   - patience: The time since the work began, for this and earlier callers.
  ///   - work: Begun if there is none; it goes on after nil was returned if it outlives callers.
  /// - Throws: `ContentError` of the work; `cancelled` if the task of the caller is cancelled.
  package func value(
    for key: Key,
    within patience: Duration,
    _ work: @escaping Work
  ) async throws(ContentError) -> Value? {
    try await answer(key, isFresh: false, patience: patience, work)?.get()
  }

  /// Lets new callers begin work again; earlier ones still get the result of the work in flight.
  package func forget(_ key: Key) { state.withLock { $0.current[key] = nil } }

  /// Lets all new callers begin work again.
  package func forgetAll() { state.withLock { $0.current = [:] } }

  /// The number of pieces of work in flight.
  package var count: Int { state.withLock { $0.flights.count } }

  private func answer(
    _ key: Key,
    isFresh: Bool,
    patience: Duration?,
    _ work: @escaping Work
  ) async -> Answer {
    let caller = state.withLock { $0.makeNumber() }
    let cancelled: Answer = .failure(ContentError(.cancelled, "", "the request was cancelled"))
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let begun = join(key, isFresh: isFresh, caller, continuation, work)
        // The handler may have run before the caller had joined.
        if Task.isCancelled { leave(key, caller, with: cancelled) }
        if let patience { setTimer(patience - (ContinuousClock.now - begun), key, caller) }
      }
    } onCancel: {
      leave(key, caller, with: cancelled)
    }
  }

  private func setTimer(_ time: Duration, _ key: Key, _ caller: UInt64) {
    guard time > .zero else { return leave(key, caller, with: nil) }
    Task {
      // This task is never cancelled, and a caller that has left is not found.
      try? await Task.sleep(for: time)
      leave(key, caller, with: nil)
    }
  }

  private func join(
    _ key: Key,
    isFresh: Bool,
    _ caller: UInt64,
    _ continuation: CheckedContinuation<Answer, Never>,
    _ work: @escaping Work
  ) -> ContinuousClock.Instant {
    state.withLock { state in
      if !isFresh, let number = state.current[key], state.flights[number] != nil {
        state.flights[number]?.callers[caller] = continuation
        state.homes[caller] = number
        return state.flights[number]?.begun ?? .now
      }
      var flight = Flight(number: state.makeNumber())
      let number = flight.number
      flight.callers[caller] = continuation
      state.homes[caller] = number
      flight.task = Task {
        do throws(ContentError) {
          self.end(key, number, .success(try await work()))
        } catch {
          self.end(key, number, .failure(error))
        }
      }
      state.flights[number] = flight
      state.current[key] = number
      return flight.begun
    }
  }

  private func end(_ key: Key, _ number: UInt64, _ result: Result<Value, ContentError>) {
    let callers = state.withLock { state in
      if state.current[key] == number { state.current[key] = nil }
      let callers = state.flights.removeValue(forKey: number)?.callers ?? [:]
      for caller in callers.keys { state.homes[caller] = nil }
      return callers
    }
    for continuation in callers.values { continuation.resume(returning: result) }
  }

  private func leave(_ key: Key, _ caller: UInt64, with answer: Answer) {
    let (continuation, unwanted) = state.withLock {
      state -> (CheckedContinuation<Answer, Never>?, Task<Void, Never>?) in
      guard let number = state.homes.removeValue(forKey: caller),
        let continuation = state.flights[number]?.callers.removeValue(forKey: caller)
      else { return (nil, nil) }
      guard !outlivesCallers, state.flights[number]?.callers.isEmpty ?? false else {
        return (continuation, nil)
      }
      // The work may take a while to end: a new caller does not join it.
      if state.current[key] == number { state.current[key] = nil }
      return (continuation, state.flights[number]?.task)
    }
    unwanted?.cancel()
    continuation?.resume(returning: answer)
  }
}
