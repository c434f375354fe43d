/// Determines when a slow request gets a second one beside it.
///
/// Pure: the caller passes the time. The delay doubles after each second request, so that a slow host does
/// not receive endless requests for the same bytes.
struct Hedge: Sendable {
  private static let first: Duration = .seconds(5)
  private static let longest: Duration = .seconds(40)

  private var next: ContinuousClock.Instant?
  private var delay = Hedge.first

  /// Returns whether a second request may be sent now; it then counts as sent.
  mutating func take(at now: ContinuousClock.Instant) -> Bool {
    if let next, next > now { return false }
    // After a long time without a second request, the first delay applies again.
    if let next, now - next > Self.longest { delay = Self.first }
    next = now + delay
    delay = min(delay * 2, Self.longest)
    return true
  }
}
