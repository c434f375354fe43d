/// The limit on concurrent transfers from one host: low at first, higher while that increases the total rate.
///
/// Pure: the caller passes the time.
///
/// The limit rises in steps. A step is kept if the total rate of all transfers grew by at least half of the
/// proportional increase; else it is undone, and tried again after a pause. The limit falls for a host that
/// limits requests, or whose first bytes arrive later and later.
package struct ParallelLimit: Sendable {
  /// The initial limit: the second transfer hides the latency of the next request.
  package static let first = 2
  /// The maximum limit.
  package static let most = 16

  /// The current limit.
  package private(set) var value = ParallelLimit.first
  /// The total rate of all transfers in bytes per second, as last measured; 0 before.
  package private(set) var rate: Double = 0
  /// The shortest measured time until a first byte; nil before.
  package private(set) var latency: Duration?

  // Long enough for a stable rate, short enough not to waste the first seconds of a model.
  private static let interval: Duration = .milliseconds(300)
  // The time after a step that is not measured: new connections start slowly.
  private static let settling: Duration = .milliseconds(150)
  // The pause after a step that did not help; doubled each time, as one measurement may have been an outlier.
  private static let firstPause: Duration = .seconds(1)
  private static let longestPause: Duration = .seconds(16)
  private static let pauseAfterThrottling: Duration = .seconds(10)

  private struct Trial: Sendable {
    let value: Int
    let rate: Double
  }

  private var start: ContinuousClock.Instant?
  private var bytes: Int64 = 0
  /// The limit and rate before the step being tried.
  private var trial: Trial?
  private var holdsUntil: ContinuousClock.Instant?
  private var pause = ParallelLimit.firstPause
  /// Whether no step has failed yet: steps double until then.
  private var isRising = true
  private var recentLatency: Double?

  /// Creates the limit of an unknown host.
  package init() {}

  /// Records the arrival of bytes.
  ///
  /// - Parameters:
  ///   - count: The number of bytes.
  ///   - isSaturated: Whether the limit is used up; otherwise the rate does not depend on the limit.
  ///   - now: The current time.
  package mutating func received(_ count: Int, isSaturated: Bool, now: ContinuousClock.Instant) {
    guard isSaturated else {
      start = nil
      return
    }
    guard let begun = start else {
      restart(now)
      return
    }
    guard now >= begun else { return }
    bytes += Int64(count)
    let elapsed = now - begun
    guard elapsed >= Self.interval else { return }
    judge(Double(bytes) / (elapsed / .seconds(1)), now)
  }

  private mutating func restart(_ now: ContinuousClock.Instant, settling: Bool = false) {
    start = settling ? now + Self.settling : now
    bytes = 0
  }

  private mutating func judge(_ measured: Double, _ now: ContinuousClock.Instant) {
    rate = measured
    if let holdsUntil, now < holdsUntil {
      restart(now)
      return
    }
    holdsUntil = nil
    if let before = trial {
      let hoped = Double(value) / Double(before.value)
      guard measured > before.rate * (1 + (hoped - 1) / 2) else {
        value = before.value
        trial = nil
        isRising = false
        holdsUntil = now + pause
        pause = min(pause * 2, Self.longestPause)
        restart(now, settling: true)
        return
      }
      pause = Self.firstPause
    }
    guard value < Self.most else {
      trial = nil
      holdsUntil = now + Self.longestPause
      restart(now)
      return
    }
    trial = Trial(value: value, rate: measured)
    value = min(Self.most, isRising ? value * 2 : value + max(1, value / 3))
    restart(now, settling: true)
  }

  /// Reduces the limit after the host reported too many requests (429, 503).
  ///
  /// - Parameter now: The current time.
  package mutating func throttled(now: ContinuousClock.Instant) {
    shrink(to: value / 2, until: now + Self.pauseAfterThrottling)
  }

  /// Records the time from a request to its first byte.
  ///
  /// - Parameters:
  ///   - time: The time of one transfer.
  ///   - now: The current time.
  package mutating func firstByte(after time: Duration, now: ContinuousClock.Instant) {
    let least = min(latency ?? time, time)
    latency = least
    let recent = (recentLatency ?? time / .seconds(1)) * 0.8 + (time / .seconds(1)) * 0.2
    recentLatency = recent
    // Queues have built up: three times the best latency, and more than a busy machine explains.
    guard recent > 3 * (least / .seconds(1)) + 0.1, value > Self.first else { return }
    recentLatency = nil
    shrink(to: value - 1, until: now + .seconds(3))
  }

  private mutating func shrink(to smaller: Int, until end: ContinuousClock.Instant) {
    value = max(1, smaller)
    trial = nil
    start = nil
    holdsUntil = max(holdsUntil ?? end, end)
  }

  /// The size of one request in bytes: a quarter of a second of one transfer, so that its latency is a small
  /// part of it.
  package var requestSize: Int64 {
    guard rate > 0 else { return 8 << 20 }
    let quarter = Int64(rate / Double(value) / 4)
    return min(max(quarter, 4 << 20), 16 << 20)
  }

  /// The number of bytes that one transfer receives during the latency of the next request: that request is
  /// sent when so few bytes are left, so that the connection does not idle.
  package var endDistance: Int64 {
    guard rate > 0, let latency else { return 0 }
    return Int64(1.25 * rate / Double(value) * (latency / .seconds(1)))
  }

  /// The distance in bytes from a request's position up to which waiting for it is not much slower than a new
  /// request, which loses the bytes in transit.
  package var cutDistance: Int64 {
    guard rate > 0, let latency else { return 16 << 20 }
    return max(2 << 20, Int64(rate / Double(value) * max(4 * (latency / .seconds(1)), 0.1)))
  }

  /// The minimum wait for which a new request is better: four times the latency, and at least a quarter of a
  /// second.
  package var cutTime: Duration { max((latency ?? .zero) * 4, .milliseconds(250)) }

  /// The window ahead of a reader in bytes: twice the bytes in flight at full rate.
  package var windowSize: Int64 {
    let delay = latency.map { $0 / .seconds(1) } ?? 0
    return max(Int64(2 * rate * delay), 2 * Int64(value) * requestSize)
  }
}
