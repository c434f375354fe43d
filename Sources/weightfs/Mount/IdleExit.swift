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
  ///   - time: The time without an open file.
  ///   - isBusy: Whether a file is open.
  ///   - unmount: Called once the time has passed.
  init(after time: Duration, isBusy: @escaping @Sendable () -> Bool, unmount: @escaping @Sendable () -> Void)
  {
    let timer = DispatchSource.makeTimerSource(queue: .global())
    let interval = max(1, Int(time.components.seconds) * 1000 / Self.looks)
    let lastUse = LastUse()
    timer.setEventHandler {
      if isBusy() {
        lastUse.note(.now)
      } else if lastUse.age(.now) >= time {
        unmount()
      }
    }
    timer.schedule(deadline: .now() + .milliseconds(interval), repeating: .milliseconds(interval))
    timer.resume()
    self.timer = timer
  }

  deinit { timer.cancel() }
}

/// The time at which a file was last open.
private final class LastUse: Sendable {
  private let instant = Mutex(ContinuousClock.now)

  func note(_ now: ContinuousClock.Instant) { instant.withLock { $0 = now } }
  func age(_ now: ContinuousClock.Instant) -> Duration { instant.withLock { now - $0 } }
}
