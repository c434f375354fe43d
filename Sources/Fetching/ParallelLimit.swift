/// How many transfers from one host run side by side: few at first, more while that makes the sum faster.
///
/// Pure: time is given by the caller.
///
/// It climbs in steps. A step is kept if the rate of all transfers together grew by half of what as many more
/// transfers could have brought; else it is taken back, and tried again after a while. A host that limits requests, or
/// whose first bytes come later and later, is asked for less.
package struct ParallelLimit: Sendable {
  /// Where it starts: the second transfer hides the time until the first byte of the next.
  package static let first = 2
  /// The most.
  package static let most = 16

  /// How many may run now.
  package private(set) var value = ParallelLimit.first
  /// Bytes a second of all transfers together, as measured last; 0 before.
  package private(set) var rate: Double = 0
  /// The shortest time until a first byte.
  package private(set) var latency: Duration?

  // Long enough that a rate is one, short enough that the first seconds of a model are not lost.
  private static let interval: Duration = .milliseconds(300)
  // New connections start slowly.
  private static let settling: Duration = .milliseconds(150)
  // After a step that brought nothing; doubled each time, as one measurement may have been bad luck.
  private static let firstPause: Duration = .seconds(1)
  private static let longestPause: Duration = .seconds(16)
  private static let pauseAfterThrottling: Duration = .seconds(10)

  private struct Trial: Sendable {
    let value: Int
    let rate: Double
  }

  private var start: ContinuousClock.Instant?
  private var bytes: Int64 = 0
  /// What it was before the step that is being tried.
  private var trial: Trial?
  private var holdsUntil: ContinuousClock.Instant?
  private var pause = ParallelLimit.firstPause
  /// No step failed yet: steps double.
  private var isRising = true
  private var recentLatency: Double?

  /// A host of which nothing is known.
  package init() {}

  /// Takes the arrival of bytes.
  ///
  /// - Parameters:
  ///   - count: how many.
  ///   - isSaturated: as many transfers run as may; else the rate says nothing of the limit.
  ///   - now: the time.
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

  /// Takes a host's word that it was asked too much (429, 503).
  ///
  /// - Parameter now: the time.
  package mutating func throttled(now: ContinuousClock.Instant) {
    shrink(to: value / 2, until: now + Self.pauseAfterThrottling)
  }

  /// Takes the time from a request to its first byte.
  ///
  /// - Parameters:
  ///   - time: of one transfer.
  ///   - now: the time.
  package mutating func firstByte(after time: Duration, now: ContinuousClock.Instant) {
    let least = min(latency ?? time, time)
    latency = least
    let recent = (recentLatency ?? time / .seconds(1)) * 0.8 + (time / .seconds(1)) * 0.2
    recentLatency = recent
    // Queues have built up: three times the best, and more than what a busy machine explains.
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

  /// How long one request should be: a quarter of a second's worth of one transfer, so that the time until its first
  /// byte is a small part of it.
  package var requestSize: Int64 {
    guard rate > 0 else { return 8 << 20 }
    let quarter = Int64(rate / Double(value) / 4)
    return min(max(quarter, 4 << 20), 16 << 20)
  }

  /// What one transfer brings in the time until a first byte: with so little left of it the next is asked for, so that the
  /// link does not stand still in between.
  package var endDistance: Int64 {
    guard rate > 0, let latency else { return 0 }
    return Int64(1.25 * rate / Double(value) * (latency / .seconds(1)))
  }

  /// How far the bytes that somebody waits for may be from where a request is, so that waiting for them there is not
  /// much slower than asking anew; what is on its way of the old request is lost then.
  package var cutDistance: Int64 {
    guard rate > 0, let latency else { return 16 << 20 }
    return max(2 << 20, Int64(rate / Double(value) * max(4 * (latency / .seconds(1)), 0.1)))
  }

  /// How long a wait must be for a new request to be better: four times until its first byte, and a quarter of a second.
  package var cutTime: Duration { max((latency ?? .zero) * 4, .milliseconds(250)) }

  /// How far ahead of a reader to ask for bytes: twice what is under way when the link is full.
  package var windowSize: Int64 {
    let delay = latency.map { $0 / .seconds(1) } ?? 0
    return max(Int64(2 * rate * delay), 2 * Int64(value) * requestSize)
  }
}
