import Fetching
import TestSupport
import Testing

/// A network path with limits on the rate of each connection and on the total rate, in simulated time.
private struct Link {
  var eachPerSecond: Double
  var allPerSecond: Double
  var noise = 0.0
  private var now = ContinuousClock.now
  private var generator: SeededGenerator

  init(each: Double, all: Double, noise: Double = 0, seed: UInt64 = 1) {
    eachPerSecond = each
    allPerSecond = all
    self.noise = noise
    generator = SeededGenerator(seed: seed)
  }

  var time: ContinuousClock.Instant { now }

  /// Simulates a time with as many transfers as the limit allows.
  mutating func run(_ limit: inout ParallelLimit, seconds: Double) -> Double {
    var bytes = 0.0
    for _ in 0..<Int(seconds * 100) {
      now += .milliseconds(10)
      let factor = 1 + Double.random(in: -noise...noise, using: &generator)
      let count = min(allPerSecond, eachPerSecond * Double(limit.value)) * 0.01 * factor
      limit.received(Int(count), isSaturated: true, now: now)
      bytes += count
    }
    return bytes / seconds
  }
}

struct ParallelLimitTests {
  @Test(arguments: SeededGenerator.seeds(1...20))
  func aHostThatLimitsEachConnectionIsAskedManyTimesAtOnce(_ seed: UInt64) {
    var limit = ParallelLimit()
    var link = Link(each: 30e6, all: 1e9, noise: 0.2, seed: seed)
    let rate = link.run(&limit, seconds: 8)
    #expect(limit.value >= 8, "seed \(seed)")
    #expect(rate > 3 * 30e6, "seed \(seed)")
  }

  @Test(arguments: SeededGenerator.seeds(1...20))
  func aFullLinkIsNotAskedForMore(_ seed: UInt64) {
    var limit = ParallelLimit()
    var link = Link(each: 125e6, all: 125e6, noise: 0.1, seed: seed)
    _ = link.run(&limit, seconds: 3)
    var sum = 0
    for _ in 0..<100 {
      _ = link.run(&limit, seconds: 0.3)
      sum += limit.value
    }
    #expect(sum <= 300, "seed \(seed): \(sum) of 200 at least")
  }

  @Test func aHostThatSaysTooManyIsAskedForHalf() {
    var limit = ParallelLimit()
    var link = Link(each: 30e6, all: 1e9)
    _ = link.run(&limit, seconds: 8)
    let before = limit.value
    limit.throttled(now: link.time)
    #expect(limit.value == before / 2)
    for _ in 0..<10 { limit.throttled(now: link.time) }
    #expect(limit.value == 1)
    _ = link.run(&limit, seconds: 9)
    #expect(limit.value == 1, "the limit is not changed for a while")
    _ = link.run(&limit, seconds: 10)
    #expect(limit.value > 1)
  }

  @Test func risingLatencyShrinksIt() {
    var limit = ParallelLimit()
    var link = Link(each: 30e6, all: 1e9)
    _ = link.run(&limit, seconds: 8)
    let before = limit.value
    for _ in 0..<5 { limit.firstByte(after: .milliseconds(20), now: link.time) }
    #expect(limit.value == before)
    for _ in 0..<20 { limit.firstByte(after: .milliseconds(900), now: link.time) }
    #expect(limit.value < before)
    #expect(limit.value >= ParallelLimit.first)
  }

  @Test func ratesThatOthersLimitSayNothing() {
    var limit = ParallelLimit()
    let start = ContinuousClock.now
    for step in 0..<1000 {
      limit.received(1000, isSaturated: false, now: start + .milliseconds(10 * step))
    }
    #expect(limit.value == ParallelLimit.first)
    #expect(limit.rate == 0)
  }

  @Test func theWindowHoldsWhatIsUnderWay() {
    var limit = ParallelLimit()
    var link = Link(each: 125e6, all: 125e6)
    limit.firstByte(after: .milliseconds(200), now: link.time)
    _ = link.run(&limit, seconds: 2)
    // Twice 125 MB/s times 0.2 s.
    #expect(limit.windowSize >= 50_000_000)
    #expect((4 << 20...16 << 20).contains(limit.requestSize))
  }
}

struct FlightQueueTests {
  private func flight(
    _ identifier: UInt64,
    blob: UInt64 = 1,
    _ purpose: FlightQueue.Purpose,
    link: String = "host"
  ) -> FlightQueue.Flight {
    FlightQueue.Flight(identifier: identifier, link: link, blob: blob, purpose: purpose)
  }

  private func proven(_ link: String = "host") -> FlightQueue {
    var queue = FlightQueue()
    queue.enqueue(flight(1_000_000, blob: 999, .demand, link: link))
    _ = queue.next()
    queue.prove(link)
    queue.finish(1_000_000)
    return queue
  }

  @Test func whatSomebodyWaitsForGoesFirst() {
    var queue = proven()
    queue.enqueue(flight(1, .background))
    queue.enqueue(flight(2, .window))
    queue.enqueue(flight(3, .demand))
    // The background waits while a reader waits.
    let first = queue.next()
    #expect(first == [3, 2])
    queue.finish(3)
    let second = queue.next()
    #expect(second == [1])
  }

  @Test func onlyDemandGoesBeyondTheLimit() {
    var queue = proven()
    for number in 1...10 as ClosedRange<UInt64> { queue.enqueue(flight(number, .window)) }
    let ahead = queue.next()
    #expect(ahead.count == ParallelLimit.first)
    queue.enqueue(flight(11, .demand))
    let demanded = queue.next()
    #expect(demanded == [11])
  }

  @Test func aHostOfWhichNothingIsKnownGetsOneRequestABlob() {
    var queue = FlightQueue()
    queue.enqueue(flight(1, .demand))
    queue.enqueue(flight(2, .demand))
    queue.enqueue(flight(3, blob: 2, .demand))
    let first = queue.next()
    #expect(first == [1, 3])
    queue.received(1, from: "host", now: .now)
    let second = queue.next()
    #expect(second.isEmpty, "bytes do not prove that the host serves ranges")
    queue.prove("host")
    let third = queue.next()
    #expect(third == [2])
    queue.disprove("host")
    queue.enqueue(flight(4, .demand))
    let fourth = queue.next()
    #expect(fourth.isEmpty)
  }

  @Test func noReaderStarvesAnother() {
    var queue = proven()
    // One blob has many flights, the others a few.
    for number in 1...100 as ClosedRange<UInt64> { queue.enqueue(flight(number, blob: 1, .window)) }
    for blob in 2...5 as ClosedRange<UInt64> { queue.enqueue(flight(100 + blob, blob: blob, .window)) }
    var running = queue.next()
    var served: [UInt64] = running
    for _ in 0..<8 {
      queue.finish(running.removeFirst())
      let more = queue.next()
      running += more
      served += more
    }
    for blob in 2...5 as ClosedRange<UInt64> { #expect(served.contains(100 + blob), "blob \(blob)") }
  }

  @Test func theNextRequestIsSentBeforeTheLastOneEnds() {
    var queue = proven()
    for number in 1...4 as ClosedRange<UInt64> { queue.enqueue(flight(number, .window)) }
    let first = queue.next()
    #expect(first == [1, 2])
    queue.release(1)
    let second = queue.next()
    #expect(second == [3])
    queue.finish(1)
    let third = queue.next()
    #expect(third.isEmpty, "its place was taken already")
    queue.finish(2)
    let fourth = queue.next()
    #expect(fourth == [4])
    queue.finish(3)
    queue.finish(4)
    #expect(queue.isIdle)
  }

  @Test func promotionMovesWhatWaits() {
    var queue = proven()
    for number in 1...10 as ClosedRange<UInt64> { queue.enqueue(flight(number, .background)) }
    _ = queue.next()
    queue.promote(10, to: .demand)
    let next = queue.next()
    #expect(next == [10])
  }

  @Test(arguments: SeededGenerator.seeds(1...50))
  func everyRequestStartsOnceAndTheLimitsHold(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var queue = FlightQueue()
    var waiting: Set<UInt64> = []
    var running: [UInt64: (link: String, purpose: FlightQueue.Purpose)] = [:]
    var known: [UInt64: (link: String, purpose: FlightQueue.Purpose)] = [:]
    var next: UInt64 = 1
    var now = ContinuousClock.now
    func started(_ numbers: [UInt64]) {
      for number in numbers {
        #expect(waiting.remove(number) != nil, "seed \(seed): \(number) started twice")
        running[number] = known[number]
      }
      for link in ["a", "b"] {
        let ahead = running.values.count { $0.link == link && $0.purpose != .demand }
        #expect(ahead <= ParallelLimit.most, "seed \(seed)")
      }
    }
    for _ in 0..<500 {
      now += .milliseconds(20)
      switch Int.random(in: 0..<5, using: &generator) {
      case 0, 1:
        let link = Bool.random(using: &generator) ? "a" : "b"
        let purpose = FlightQueue.Purpose.allCases.randomElement(using: &generator) ?? .demand
        known[next] = (link, purpose)
        waiting.insert(next)
        queue.enqueue(flight(next, blob: UInt64.random(in: 1...4, using: &generator), purpose, link: link))
        next += 1
      case 2:
        for link in ["a", "b"] { queue.received(100_000, from: link, now: now) }
      default:
        guard let number = running.keys.sorted().randomElement(using: &generator) else { continue }
        running[number] = nil
        queue.finish(number)
      }
      started(queue.next())
    }
    while let number = running.keys.min() {
      running[number] = nil
      queue.finish(number)
      started(queue.next())
    }
    #expect(waiting.isEmpty, "seed \(seed): \(waiting) never start")
    #expect(queue.isIdle, "seed \(seed)")
  }
}
