@testable import BlobCache
import Content
import Foundation
import OCI
import SystemPackage
import TestSupport
import Testing

/// The numbers that all processes on a root share.
///
/// Each ledger takes a slot with locks of its own, as one of another process does.
struct SpaceLedgerTests {
  private let folder: TemporaryFolder
  private let root: RegistryRoot
  // What a disk has free that is never the limit.
  private static let plenty: Int64 = 1 << 50

  init() throws {
    folder = try TemporaryFolder()
    root = RegistryRoot(path: FilePath(folder.path("root")))
    try root.prepare()
  }

  private func ledger(_ limits: SpaceLimits = SpaceLimits()) throws -> SpaceLedger {
    try SpaceLedger(root: root, limits: limits)
  }

  private func expect(
    _ ledger: SpaceLedger,
    used: Int64,
    reserved: Int64,
    _ comment: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let balance = try ledger.balance()
    let isRight = balance.used == used && balance.reserved == reserved
    #expect(isRight, "\(balance) \(comment)", sourceLocation: sourceLocation)
  }

  @Test func reservedBytesAreSettledOrReleased() throws {
    let ledger = try ledger(SpaceLimits(cacheLimit: 100))
    #expect(try ledger.reserve(60, free: Self.plenty).isNone)
    try expect(ledger, used: 60, reserved: 60)
    try ledger.settle(40)
    try expect(ledger, used: 60, reserved: 20, "settled bytes are on the disk")
    try ledger.release(20)
    try expect(ledger, used: 40, reserved: 0, "released bytes are not")
    try ledger.add(-10)
    try expect(ledger, used: 30, reserved: 0)
    #expect(try ledger.reserve(70, free: Self.plenty).isNone, "the limit itself may be reached")
    #expect(try ledger.reserve(1, free: Self.plenty) == Shortfall(total: 1, set: 1))
    try expect(ledger, used: 100, reserved: 70, "what was refused is not counted")
  }

  @Test func numbersNeverFallBelowZero() throws {
    let ledger = try ledger()
    try ledger.settle(5)
    try ledger.release(5)
    try ledger.add(-5)
    try ledger.settle(-1)
    try ledger.release(0)
    try expect(ledger, used: 0, reserved: 0)
  }

  @Test(
    arguments: [
      (SpaceLimits(), 7, 7, Shortfall(total: 0, set: 0)),
      // No more than the disk has, whatever is allowed.
      (SpaceLimits(), 7, 5, Shortfall(total: 2, set: 0)),
      (SpaceLimits(cacheLimit: 10), 4, 1000, Shortfall(total: 2, set: 2)),
      (SpaceLimits(cacheLimit: 12), 4, 1000, Shortfall(total: 0, set: 0)),
      (SpaceLimits(cacheLimit: 0), 1, 1000, Shortfall(total: 9, set: 9)),
      (SpaceLimits(minimumFree: 5), 4, 6, Shortfall(total: 3, set: 3)),
      (SpaceLimits(minimumFree: 5), 4, 9, Shortfall(total: 0, set: 0)),
      (SpaceLimits(defaultFree: 5), 4, 6, Shortfall(total: 3, set: 0)),
      (SpaceLimits(minimumFree: 2, defaultFree: 5), 4, 5, Shortfall(total: 4, set: 1)),
      (SpaceLimits(cacheLimit: 10, minimumFree: 5, defaultFree: 50), 4, 20, Shortfall(total: 34, set: 2)),
    ] as [(SpaceLimits, Int64, Int64, Shortfall)]
  )
  func eachLimitSaysWhatIsShort(
    _ limits: SpaceLimits,
    _ count: Int64,
    _ free: Int64,
    _ short: Shortfall
  ) throws {
    let ledger = try ledger(limits)
    try ledger.add(8)
    let found = try ledger.reserve(count, free: free)
    #expect(found == short)
    try expect(ledger, used: short.isNone ? 8 + count : 8, reserved: short.isNone ? count : 0)
  }

  @Test func whatAnotherProcessReservedIsNotFreeAndItsLimitsBind() throws {
    let first = try ledger(SpaceLimits(cacheLimit: 100, minimumFree: 1))
    let second = try ledger(SpaceLimits(cacheLimit: 200, minimumFree: 2, defaultFree: 3))
    let strictest = SpaceLimits(cacheLimit: 100, minimumFree: 2, defaultFree: 3)
    #expect(try first.balance().limits == strictest)
    #expect(try second.balance().limits == strictest)
    #expect(try first.reserve(60, free: 80).isNone)
    try expect(second, used: 60, reserved: 60)
    // Of 80 bytes 60 are on their way, and 3 are to stay free.
    #expect(try second.reserve(20, free: 80) == Shortfall(total: 3, set: 2))
    try first.settle(60)
    #expect(try second.reserve(20, free: 23).isNone, "the disk itself shows what was settled")
    #expect(try second.reserve(21, free: Self.plenty) == Shortfall(total: 1, set: 1))
  }

  @Test func whatADeadProcessReservedIsFreeAndTheNextCountTakesItOut() throws {
    let living = try ledger(SpaceLimits(cacheLimit: 1000))
    var dead: SpaceLedger? = try ledger(SpaceLimits(cacheLimit: 10))
    #expect(try dead?.reserve(7, free: Self.plenty).isNone ?? false)
    try expect(living, used: 7, reserved: 7)
    dead = nil
    #expect(try living.balance().limits.cacheLimit == 1000, "its limit goes with it")
    try expect(living, used: 7, reserved: 0)
    #expect(try living.reserve(5, free: Self.plenty).isNone)
    try living.count()
    try expect(living, used: 5, reserved: 5, "what is reserved counts before it is on the disk")
  }

  @Test func aCountFindsWhatLiesInThePool() throws {
    let ledger = try ledger()
    try ledger.add(1 << 40)
    let names = ["blobs/sha256/a", "blobs/sha512/b", "partial/sha256/c"]
    for name in names {
      try folder.write([UInt8](repeating: 1, count: 20_000), to: "root/.weightfs/\(name)")
    }
    // What is no blob is not counted.
    try folder.write([UInt8](repeating: 1, count: 20_000), to: "root/example.com/a/__t/blobs/sha256/d")
    try ledger.count()
    let balance = try ledger.balance()
    #expect((60_000...120_000).contains(balance.used), "\(balance.used)")
  }

  @Test func aCountSeesABlobThatIsCommittedDuringTheCount() async throws {
    let ledger = try ledger()
    let names = (0..<400).map { "\($0)" }
    for name in names { try folder.write([1], to: "root/.weightfs/partial/sha256/\(name)") }
    try ledger.count()
    let whole = try ledger.balance().used
    #expect(whole > 0)
    let executor = BlockingExecutor(label: "test.space", threads: 1)
    let sides = ["partial", "blobs"].map { folder.path("root/.weightfs/\($0)/sha256") }
    for _ in 0..<40 {
      async let moves: Void = executor.ask {
        for name in names { rename("\(sides[0])/\(name)", "\(sides[1])/\(name)") }
      }
      try ledger.count()
      try expect(ledger, used: whole, reserved: 0)
      await moves
      for name in names { rename("\(sides[1])/\(name)", "\(sides[0])/\(name)") }
    }
  }

  @Test func aCountDuringARemovalSubtractsItsBytesOnce() async throws {
    let (ledger, other) = (try ledger(), try ledger())
    try folder.write([UInt8](repeating: 1, count: 1 << 20), to: "root/.weightfs/blobs/sha256/stays")
    try ledger.count()
    let stays = try ledger.balance().used
    let names = (0..<200).map { "\($0)" }
    for name in names { try folder.write([1], to: "root/.weightfs/blobs/sha256/\(name)") }
    try ledger.count()
    let directory = root.blobs(.sha256)
    let executor = BlockingExecutor(label: "test.space", threads: 1)
    async let removals: Int64 = executor.ask {
      names.reduce(0) { $0 + ((try? other.remove(directory.appending($1))) ?? 0) }
    }
    for _ in 0..<60 { try ledger.count() }
    #expect(await removals > 0)
    try expect(ledger, used: stays, reserved: 0)
    #expect(try ledger.remove(directory.appending("absent")) == 0)
  }

  @Test func aFileThatIsNoLedgerIsMadeAgain() throws {
    let other = Array("something else that is longer than the header of a ledger, 64 bytes".utf8)
    for bytes in [[], [0], other] {
      try folder.write(bytes, to: "root/.weightfs/state/space")
      let ledger = try ledger(SpaceLimits(cacheLimit: 10))
      try expect(ledger, used: 0, reserved: 0)
      #expect(try ledger.reserve(10, free: Self.plenty).isNone)
    }
  }

  @Test(arguments: SeededGenerator.seeds(1...3))
  func threadsOfSeveralLedgersKeepTheSumAndTheLimit(_ seed: UInt64) async throws {
    let limit: Int64 = 1000
    let ledgers = try (0..<2).map { _ in try ledger(SpaceLimits(cacheLimit: limit)) }
    let executor = BlockingExecutor(label: "test.space", threads: 6)
    let all = try await withThrowingTaskGroup(of: Work.self) { group in
      for thread in 0..<6 {
        let ledger = ledgers[thread % 2]
        group.addTask {
          try await executor.ask { Self.work(ledger, seed &+ UInt64(thread)) }.get()
        }
      }
      var sum = Work()
      for try await work in group {
        sum.kept += work.kept
        sum.mostUsed = max(sum.mostUsed, work.mostUsed)
      }
      return sum
    }
    for ledger in ledgers { try expect(ledger, used: all.kept, reserved: 0, "WEIGHTFS_SEED=\(seed)") }
    #expect(all.mostUsed <= limit, "WEIGHTFS_SEED=\(seed)")
  }

  private struct Work: Sendable {
    /// Bytes that the thread left on the disk.
    var kept: Int64 = 0
    /// The most bytes that it saw used, by all threads.
    var mostUsed: Int64 = 0
  }

  /// Reserves, settles and releases at random.
  private static func work(_ ledger: SpaceLedger, _ seed: UInt64) -> Result<Work, Errno> {
    var generator = SeededGenerator(seed: seed)
    var work = Work()
    do throws(Errno) {
      for _ in 0..<150 {
        let count = Int64.random(in: 1...300, using: &generator)
        guard try ledger.reserve(count, free: plenty).isNone else {
          // Makes room with what this thread has kept.
          try ledger.add(-work.kept)
          work.kept = 0
          continue
        }
        let used = try ledger.balance().used
        work.mostUsed = max(work.mostUsed, used)
        let part = Int64.random(in: 0...count, using: &generator)
        try ledger.settle(part)
        try ledger.release(count - part)
        work.kept += part
      }
      return .success(work)
    } catch {
      return .failure(error)
    }
  }
}
