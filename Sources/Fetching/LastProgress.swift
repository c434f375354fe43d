import Locking

/// When bytes last came, noted by the transfer thread for each piece and so without a lock.
final class LastProgress: Sendable {
  private let begun = ContinuousClock.now
  private let nanoseconds = Atomic<Int64>(0)

  /// Notes that bytes came now.
  func note() {
    let (seconds, fraction) = (ContinuousClock.now - begun).components
    nanoseconds.store(seconds * 1_000_000_000 + fraction / 1_000_000_000, ordering: .relaxed)
  }

  /// The last time; before the first bytes, when it was made.
  var instant: ContinuousClock.Instant { begun + .nanoseconds(nanoseconds.load(ordering: .relaxed)) }
}
