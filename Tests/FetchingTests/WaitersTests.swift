import Fetching
import Testing

struct WaitersTests {
  private let now = ContinuousClock.now

  private func add(_ waiters: inout Waiters<Int>, _ reply: Int, needsWhole: Bool = false) {
    waiters.add(
      Waiters.Waiter(
        reply,
        10..<20,
        needsWhole: needsWhole,
        caller: nil,
        isReader: !needsWhole,
        since: now
      )
    )
  }

  @Test func theyAreTakenOnceAndInTheirOrder() {
    var waiters = Waiters<Int>()
    for reply in 0..<10 { add(&waiters, reply) }
    #expect(waiters.take { $0.reply.isMultiple(of: 3) }.map(\.reply) == [0, 3, 6, 9])
    #expect(waiters.take { $0.reply.isMultiple(of: 3) }.isEmpty)
    #expect(waiters.all.map(\.reply) == [1, 2, 4, 5, 7, 8])
    #expect(waiters.take { _ in true }.count == 6)
    #expect(waiters.isEmpty)
  }

  @Test func whoWaitsForTheWholeNeedsEveryByte() {
    var waiters = Waiters<Int>()
    add(&waiters, 1)
    add(&waiters, 2, needsWhole: true)
    #expect(waiters.all.map { $0.needed(of: 100) } == [10..<20, 0..<100])
  }
}
