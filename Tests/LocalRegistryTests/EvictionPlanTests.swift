import BlobCache
import Content
import LocalRegistry
import OCI
import TestSupport
import Testing

/// The selection of blobs to evict.
struct EvictionPlanTests {
  private func candidate(
    _ number: UInt64,
    size: Int64,
    lastUse: Int64,
    _ protection: EvictionPlan.Protection? = nil
  ) -> EvictionPlan.Candidate {
    EvictionPlan.Candidate(
      digest: Verification.digest(of: SeededGenerator.bytes(8, seed: number)),
      isPartial: number % 3 == 0,
      size: size,
      lastUse: lastUse,
      protection: protection
    )
  }

  @Test func theLeastRecentlyUsedGoFirstAndNoMoreThanIsNeeded() {
    let blobs = [
      candidate(1, size: 100, lastUse: 30), candidate(2, size: 100, lastUse: 10),
      candidate(3, size: 100, lastUse: 20),
    ]
    let plan = EvictionPlan(blobs, needed: Shortfall(total: 150, set: 150))
    #expect(plan.evicted.map(\.lastUse) == [10, 20])
    #expect(plan.freed == 200)
    #expect(EvictionPlan(blobs, needed: Shortfall(total: 0, set: 0)).evicted.isEmpty)
  }

  @Test(arguments: EvictionPlan.Protection.allCases)
  func whatMustStayStaysHoweverOldItIs(_ protection: EvictionPlan.Protection) {
    let blobs = [candidate(1, size: 100, lastUse: 0, protection), candidate(2, size: 50, lastUse: 99)]
    let plan = EvictionPlan(blobs, needed: Shortfall(total: 120, set: 120))
    #expect(plan.evicted.map(\.size) == [50])
    #expect(plan.freed == 50, "not enough, as reported")
  }

  @Test(arguments: SeededGenerator.seeds([1, 2, 3, 4]))
  func anyPlanIsAPrefixOfTheOldestThatMayGo(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<500 {
      let blobs = (0..<UInt64.random(in: 0...20, using: &generator)).map { number in
        candidate(
          number &+ seed &* 1000,
          size: Int64.random(in: 0...50, using: &generator),
          lastUse: Int64.random(in: 0...5, using: &generator),
          Int.random(in: 0...2, using: &generator) == 0
            ? EvictionPlan.Protection.allCases.randomElement(using: &generator) : nil
        )
      }
      let needed = Int64.random(in: 0...400, using: &generator)
      let plan = EvictionPlan(blobs, needed: Shortfall(total: needed, set: needed))
      let mayGo = blobs.filter { $0.protection == nil && $0.size > 0 }
      #expect(plan.freed == plan.evicted.reduce(0) { $0 + $1.size }, "seed \(seed)")
      #expect(plan.evicted.allSatisfy { $0.protection == nil }, "seed \(seed)")
      let oldestLeft = mayGo.filter { !plan.evicted.contains($0) }.map(\.lastUse).min() ?? .max
      #expect(plan.evicted.allSatisfy { $0.lastUse <= oldestLeft }, "seed \(seed)")
      if plan.freed < needed { #expect(plan.evicted.count == mayGo.count, "seed \(seed)") }
      if let last = plan.evicted.last { #expect(plan.freed - last.size < needed, "seed \(seed)") }
    }
  }

  @Test func whatWasPulledGoesOnlyForALimitThatSomebodySet() {
    func blob(_ byte: UInt8, age: Int64, isPulled: Bool) -> EvictionPlan.Candidate {
      EvictionPlan.Candidate(
        digest: Verification.digest(of: [byte]),
        isPartial: false,
        size: 100,
        lastUse: age,
        protection: nil,
        isPulled: isPulled
      )
    }
    let blobs = [
      blob(1, age: 1, isPulled: true), blob(2, age: 2, isPulled: false), blob(3, age: 3, isPulled: true),
    ]
    #expect(EvictionPlan(blobs, needed: Shortfall(total: 100, set: 0)).evicted.map(\.lastUse) == [2])
    #expect(EvictionPlan(blobs, needed: Shortfall(total: 300, set: 0)).freed == 100)
    #expect(EvictionPlan(blobs, needed: Shortfall(total: 200, set: 200)).evicted.map(\.lastUse) == [1, 2])
    #expect(EvictionPlan(blobs, needed: Shortfall(total: 250, set: 50)).evicted.map(\.lastUse) == [1, 2])
  }

  @Test func aDefaultAndALimitThatIsSetAreToldApart() {
    let limits = SpaceLimits(minimumFree: 10, defaultFree: 50)
    #expect(limits.shortfall(5, used: 0, free: 100).isNone)
    #expect(limits.shortfall(5, used: 0, free: 20) == Shortfall(total: 35, set: 0))
    #expect(limits.shortfall(5, used: 0, free: 10) == Shortfall(total: 45, set: 5))
    #expect(
      SpaceLimits().shortfall(5, used: 0, free: 3) == Shortfall(total: 2, set: 0),
      "no more than the disk has"
    )
    #expect(SpaceLimits().shortfall(0, used: 0, free: 0).isNone)
    #expect(SpaceLimits.defaultFree(diskSize: 1000 << 30) == 20 << 30)
    #expect(SpaceLimits.defaultFree(diskSize: 100 << 30) == 5 << 30)
  }
}
