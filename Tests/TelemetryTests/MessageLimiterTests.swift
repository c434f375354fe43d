import Telemetry
import Testing

/// One message of a kind in an interval; the others are counted.
struct MessageLimiterTests {
  @Test func oneMessageOfAKindPassesAndTheOthersAreCounted() {
    let limiter = MessageLimiter()
    let start = ContinuousClock.now
    #expect(limiter.admit("a", now: start) == 0)
    #expect(limiter.admit("a", now: start + .seconds(1)) == nil)
    #expect(limiter.admit("b", now: start + .seconds(1)) == 0)
    #expect(limiter.admit("a", now: start + .seconds(59)) == nil)
    #expect(limiter.admit("a", now: start + .seconds(61)) == 2)
  }

  @Test func aMessageThatStaysTheSameIsToldOnceInItsOwnInterval() {
    let limiter = MessageLimiter()
    let start = ContinuousClock.now
    #expect(limiter.admit("a", interval: .seconds(3600), now: start) == 0)
    #expect(limiter.admit("a", interval: .seconds(3600), now: start + .seconds(3599)) == nil)
    #expect(limiter.admit("a", interval: .seconds(3600), now: start + .seconds(3601)) == 1)
  }

  @Test func manyKindsAtOnceDoNotFillALog() {
    let limiter = MessageLimiter(burstLimit: 10)
    let start = ContinuousClock.now
    let passed = (0..<100).filter { limiter.admit("kind \($0)", now: start) != nil }
    #expect(passed.count == 10)
    #expect(limiter.admit("another", now: start + .seconds(61)) == 0)
  }
}
