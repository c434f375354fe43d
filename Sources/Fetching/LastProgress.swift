import Locking

/// The time at which bytes last arrived; written without a lock, as the transfer thread notes each piece.
final class LastProgress: Sendable {
  private let begun = ContinuousClock.now
  private let nanoseconds = Atomic<Int64>(0)

  /// Notes that bytes arrived now.
  func note() {
    let (seconds, fraction) = (ContinuousClock.now - begun).components
    nanoseconds.store(seconds * 1_000_000_000 + fraction / 1_000_000_000, ordering: .relaxed)
  }

  /// The time of the last bytes; the time of creation before the first bytes.
  var instant: ContinuousClock.Instant { begun + .nanoseconds(nanoseconds.load(ordering: .relaxed)) }
}
