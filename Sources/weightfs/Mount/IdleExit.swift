import Dispatch
import Locking

/// Unmounts once no file was open for a time.
final class IdleExit {
  private let timer: any DispatchSourceTimer

  // Looks per time: the mount ends at most an eighth later than asked for.
  private static let looks = 8

  /// Starts to watch.
  ///
  /// - Parameters:
  ///   - time: The time without use.
  ///   - unmount: Called once the time has passed.
  ///   - activity: Returns a number that changes with each use; nil while a file is open.
  init(
    after time: Duration,
    unmount: @escaping @Sendable () -> Void,
    activity: @escaping @Sendable () -> UInt64?
  ) {
    let timer = DispatchSource.makeTimerSource(queue: .global())
    let interval = max(1, Int(time.components.seconds) * 1000 / Self.looks)
    let lastUse = LastUse()
    timer.setEventHandler {
      if lastUse.age(activity(), .now) >= time { unmount() }
    }
    timer.schedule(deadline: .now() + .milliseconds(interval), repeating: .milliseconds(interval))
    timer.resume()
    self.timer = timer
  }

  deinit { timer.cancel() }
}

/// The last use that was seen.
private final class LastUse: Sendable {
  private let state = Mutex((activity: UInt64?.none, instant: ContinuousClock.now))

  /// Returns the time since the last use.
  func age(_ activity: UInt64?, _ now: ContinuousClock.Instant) -> Duration {
    state.withLock { state in
      if activity == nil || activity != state.activity { state = (activity, now) }
      return now - state.instant
    }
  }
}
