/// When a request that is too slow gets a second one beside it.
///
/// Pure: time is given by the caller. The first after some seconds, each later one after twice the time, so that a host
/// that is slow as a whole is not asked for the same bytes without end.
struct Hedge: Sendable {
  private static let first: Duration = .seconds(5)
  private static let longest: Duration = .seconds(40)

  private var next: ContinuousClock.Instant?
  private var delay = Hedge.first

  /// Whether a second request may be sent now; it counts as sent then.
  mutating func take(at now: ContinuousClock.Instant) -> Bool {
    if let next, next > now { return false }
    // After a time without any the first delay holds again.
    if let next, now - next > Self.longest { delay = Self.first }
    next = now + delay
    delay = min(delay * 2, Self.longest)
    return true
  }
}
