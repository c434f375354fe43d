import Locking

extension Task where Failure == Never {
  /// Returns the value of the task, or nil if it takes longer than `time`; the task continues in any case.
  package func value(within time: Duration) async -> Success? {
    guard time > .zero else { return nil }
    let answer = FirstAnswer<Success>()
    let timer = Task<Void, Never> {
      // The timer is cancelled when the task has finished first.
      do { try await Task<Never, Never>.sleep(for: time) } catch { return }
      answer.give(nil)
    }
    Task<Void, Never> {
      answer.give(await value)
      timer.cancel()
    }
    return await answer.wait()
  }
}

/// Passes the first of several answers to the waiter.
private final class FirstAnswer<Value: Sendable>: Sendable {
  private enum State: Sendable {
    case open
    case waiting(CheckedContinuation<Value?, Never>)
    case answered(Value?)
  }

  private let state = Mutex(State.open)

  func give(_ value: Value?) {
    let waiter = state.withLock { state -> CheckedContinuation<Value?, Never>? in
      switch state {
      case .answered: return nil
      case .open: state = .answered(value)
      case .waiting(let continuation):
        state = .answered(value)
        return continuation
      }
      return nil
    }
    waiter?.resume(returning: value)
  }

  func wait() async -> Value? {
    await withCheckedContinuation { continuation in
      let given = state.withLock { state -> Value?? in
        if case .answered(let value) = state { return .some(value) }
        state = .waiting(continuation)
        return nil
      }
      if let given { continuation.resume(returning: given) }
    }
  }
}
