import BlobCache
import Content
@testable import Fetching
import Hashing
import OCI
import Synchronization
import TestSupport
import Testing

/// Blocks that are present, as a set.
final class FakeBlocks: BlockPresence {
  private let state: Mutex<Set<Int>>
  private let count: Int
  private let size: Int64

  init(size: Int64, present: Set<Int> = []) {
    self.size = size
    count = BlockMap.blockCount(size: size)
    state = Mutex(present)
  }

  func insert(_ blocks: Range<Int>) { state.withLock { $0.formUnion(blocks) } }
  func remove(_ blocks: Range<Int>) { state.withLock { $0.subtract(blocks) } }

  var isComplete: Bool { state.withLock { $0.count == count } }
  func contains(_ range: Range<Int64>) -> Bool {
    state.withLock { $0.isSuperset(of: BlockMap.blocks(touching: range, size: size)) }
  }
  func holds(_ range: Range<Int64>) -> Bool { contains(range) }
  func missing(in blocks: Range<Int>) -> [Range<Int>] {
    let present = state.withLock { $0 }
    var runs: [Range<Int>] = []
    for block in blocks where !present.contains(block) {
      if let last = runs.last, last.upperBound == block {
        runs[runs.count - 1] = last.lowerBound..<block + 1
      } else {
        runs.append(block..<block + 1)
      }
    }
    return runs
  }
  func nextMissing(from block: Int, limit: Int) -> Range<Int>? {
    guard block < count else { return nil }
    return missing(in: block..<count).first.map { $0.lowerBound..<min($0.upperBound, $0.lowerBound + limit) }
  }
}

/// Each row of the table in the head of `BlobState`.
struct BlobStateTests {
  typealias State = BlobState<Int, FakeBlocks, String>

  private static let size: Int64 = 4 << 20
  private static let bytes = SeededGenerator.bytes(Int(size), seed: 3)
  private static let digest = Verification.digest(of: bytes)
  private let blocks = FakeBlocks(size: size)
  private let error = ContentError(.unreachable, "x", "y")
  private let now = ContinuousClock.now

  private func state(
    _ phase: State.Phase? = nil,
    _ verify: FetchPolicy.Verify = .deferred,
    isSmall: Bool = false
  ) -> State {
    State(
      phase ?? .partial(blocks),
      digest: Self.digest,
      size: Self.size,
      rule: ServingRule(verify: verify, isSmall: isSmall)
    )
  }

  private func waiter(
    _ reply: Int,
    _ range: Range<Int64> = 0..<10,
    forAll: Bool = false,
    reader: Bool = true
  )
    -> State.Waiter
  {
    State.Waiter(reply, range, needsWhole: forAll, caller: nil, isReader: reader, since: now)
  }

  /// A list of the right chunks of 1 MiB.
  private func list() throws -> ChunkList {
    var entries: [UInt8] = []
    for start in stride(from: 0, to: Self.bytes.count, by: 1 << 20) {
      entries += Verification.digest(of: Array(Self.bytes[start..<start + (1 << 20)])).bytes
    }
    return try #require(ChunkList(entries, blobSize: Self.size, chunkSize: 1 << 20))
  }

  /// Names of actions, with the replies that they concern.
  private func names(_ actions: [State.Action]) -> [String] {
    actions.map { action in
      switch action {
      case .answer(let waiters, .file(let file)): "answer \(waiters.map(\.reply)) from \(file)"
      case .answer(let waiters, .partial): "answer \(waiters.map(\.reply))"
      case .fail(let waiters, _): "fail \(waiters.map(\.reply))"
      case .failChunk(let waiters, let chunk, let isDropped):
        "failChunk \(chunk) \(waiters.map(\.reply)) \(isDropped)"
      case .promote(let purpose): "promote \(purpose)"
      case .startWatch: "startWatch"
      case .fetchAgain(let chunk): "fetchAgain \(chunk)"
      case .recheck(let isDropped): "recheck \(isDropped)"
      case .commit: "commit"
      case .discard: "discard"
      case .hashFile: "hashFile"
      case .noteVerified: "noteVerified"
      case .rejectFile: "rejectFile"
      case .distribute: "distribute"
      case .announce: "announce"
      case .markBad: "markBad"
      case .dropPages: "dropPages"
      }
    }
  }

  @Test func aWaiterIsWatchedAndOneForAllBytesHurriesTheRequests() {
    var state = state()
    #expect(names(state.handle(.wait(waiter(1)))) == ["startWatch"])
    #expect(names(state.handle(.wait(waiter(2, forAll: true)))) == ["promote demand"])
    #expect(names(state.handle(.wait(waiter(3, 0..<0, forAll: true, reader: false)))) == ["promote window"])
    #expect(state.wantsAllBytes)
  }

  @Test func aWaiterWhoseBytesArrivedBeforeItIsAnsweredAtOnce() {
    var state = state()
    blocks.insert(0..<1)
    #expect(names(state.handle(.wait(waiter(1)))) == ["startWatch", "answer [1]"])
    #expect(state.waiters.isEmpty)
  }

  @Test func blocksAnswerTheWaitersWhoseRangeTheyComplete() {
    var state = state()
    for (reply, first) in [(1, 0), (2, 65_530), (3, 131_072)] as [(Int, Int64)] {
      _ = state.handle(.wait(waiter(reply, first..<first + 10)))
    }
    _ = state.handle(.wait(waiter(4, forAll: true)))
    blocks.insert(0..<1)
    #expect(names(state.handle(.arrived)) == ["answer [1]"])
    blocks.insert(1..<2)
    #expect(names(state.handle(.arrived)) == ["answer [2]"])
    #expect(names(state.handle(.arrived)).isEmpty)
  }

  @Test(arguments: [(FetchPolicy.Verify.strict, false), (.deferred, true)])
  func unverifiedBytesOfStrictMountsAndSmallBlobsAnswerNoReader(_ verify: FetchPolicy.Verify, isSmall: Bool) {
    var state = state(nil, verify, isSmall: isSmall)
    _ = state.handle(.wait(waiter(1)))
    blocks.insert(0..<64)
    #expect(names(state.handle(.arrived)).isEmpty)
    #expect(state.hit(0..<10, now: now, progress: now).isMiss)
  }

  @Test func bytesOfSeveralSourcesAnswerNoReader() {
    var state = state()
    blocks.insert(0..<64)
    state.mix()
    _ = state.handle(.wait(waiter(1)))
    #expect(names(state.handle(.arrived)).isEmpty)
  }

  @Test func aRequestThatFailsEndsTheWaitsForItsAbsentBlocksAndForAllBytes() {
    var state = state()
    _ = state.handle(.wait(waiter(1)))
    _ = state.handle(.wait(waiter(2, 131_072..<131_073)))
    _ = state.handle(.wait(waiter(3, 0..<0, forAll: true, reader: false)))
    blocks.insert(1..<2)
    #expect(names(state.handle(.flightFailed([1..<2], error, sparesReaders: false))) == ["fail [3]"])
    #expect(names(state.handle(.flightFailed([0..<2], error, sparesReaders: true))).isEmpty)
    #expect(names(state.handle(.flightFailed([0..<2], error, sparesReaders: false))) == ["fail [1]"])
    #expect(state.waiters.all.map(\.reply) == [2])
  }

  @Test func rightBytesAreCommittedAndThenServedFromTheFile() {
    var state = state()
    _ = state.handle(.wait(waiter(1, forAll: true)))
    #expect(names(state.handle(.hashed(Self.digest))) == ["commit"])
    #expect(names(state.handle(.hashed(Self.digest))).isEmpty, "a second run changes nothing")
    #expect(names(state.handle(.committed("f"))) == ["distribute", "answer [1] from f", "announce"])
    #expect(state.verifiedFile == "f")
  }

  @Test func aBlobThatCannotBeCommittedIsServedInPlaceOrFails() {
    for file in ["f", nil] {
      var state = state()
      _ = state.handle(.wait(waiter(1, forAll: true)))
      _ = state.handle(.hashed(Self.digest))
      let expected = file == nil ? "fail [1]" : "answer [1] from f"
      #expect(names(state.handle(.commitFailed(error, file: file))) == [expected])
      #expect(state.verifiedFile == file)
      // Without a file the bytes are still those of the partial blob.
      #expect((state.partial != nil) == (file == nil))
    }
  }

  @Test func wrongBytesAreDiscardedAndEndEveryWait() {
    var state = state()
    _ = state.handle(.wait(waiter(1, forAll: true)))
    #expect(names(state.handle(.hashed(Verification.digest(of: [1])))) == ["discard"])
    _ = state.handle(.wait(waiter(2, 65_536..<65_537)))
    #expect(names(state.handle(.condemned(error))) == ["markBad", "fail [1, 2]", "dropPages"])
    #expect(names(state.handle(.wait(waiter(3)))) == ["fail [3]"])
    #expect(state.badness != nil && state.partial == nil)
    #expect(names(state.handle(.hashed(Self.digest))).isEmpty, "bad stays bad")
  }

  @Test func aFileOfAnotherProgramIsHashedOnceAndThenTrusted() {
    var state = state(.complete("f", .unverified))
    #expect(state.servableFile == "f" && state.verifiedFile == nil)
    _ = state.handle(.wait(waiter(1, forAll: true)))
    #expect(names(state.handle(.checkWanted)) == ["hashFile"])
    #expect(names(state.handle(.checkWanted)).isEmpty)
    #expect(names(state.handle(.hashed(Self.digest))) == ["noteVerified", "answer [1] from f"])
    #expect(names(state.handle(.checkWanted)).isEmpty)
  }

  @Test func aWrongFileOfAnotherProgramTurnsBad() {
    var state = state(.complete("f", .unverified), .strict)
    #expect(state.servableFile == nil)
    _ = state.handle(.wait(waiter(1)))
    _ = state.handle(.checkWanted)
    #expect(names(state.handle(.hashed(Verification.digest(of: [1])))) == ["rejectFile"])
    #expect(names(state.handle(.condemned(error))) == ["markBad", "fail [1]", "dropPages"])
  }

  @Test func aFileThatCannotBeHashedIsTriedAgain() {
    var state = state(.complete("f", .unverified))
    _ = state.handle(.wait(waiter(1, forAll: true)))
    _ = state.handle(.checkWanted)
    #expect(names(state.handle(.hashFailed(error))) == ["fail [1]"])
    #expect(names(state.handle(.checkWanted)) == ["hashFile"])
  }

  @Test func aChunkThatDiffersIsFetchedOnceMoreAndThenRefused() throws {
    var state = state(nil, .strict)
    #expect(names(state.handle(.listChanged(try list(), named: nil, isOwn: true))) == ["recheck false"])
    _ = state.handle(.wait(waiter(1)))
    _ = state.handle(.wait(waiter(2, (1 << 20)..<(1 << 20) + 1)))
    blocks.insert(0..<16)
    #expect(state.takeUnchecked(in: 0..<Self.size)?.chunks == [0])
    #expect(state.takeUnchecked(in: 0..<Self.size) == nil, "each is compared once")
    let until = now + .seconds(30)
    #expect(
      names(state.handle(.chunkDiffers(0, isDropped: true, refusedUntil: until))) == ["fetchAgain 0"]
    )
    #expect(
      names(state.handle(.chunkDiffers(0, isDropped: true, refusedUntil: until))) == ["failChunk 0 [1] true"]
    )
    #expect(state.hit(0..<10, now: now, progress: now).isRefused)
    #expect(!state.hit(0..<10, now: now + .seconds(31), progress: now).isRefused)
    #expect(state.waiters.all.map(\.reply) == [2])
  }

  @Test func aChunkThatMatchesAnswersItsWaiters() throws {
    var state = state(nil, .strict)
    _ = state.handle(.listChanged(try list(), named: nil, isOwn: true))
    _ = state.handle(.wait(waiter(1)))
    blocks.insert(0..<16)
    #expect(names(state.handle(.arrived)).isEmpty, "present, and not compared yet")
    #expect(names(state.handle(.chunkMatched(0))) == ["answer [1]"])
  }

  @Test func aChunkThatCannotBeReadFailsItsWaiters() throws {
    var state = state(nil, .strict)
    _ = state.handle(.listChanged(try list(), named: nil, isOwn: true))
    _ = state.handle(.wait(waiter(1)))
    _ = state.handle(.wait(waiter(2, forAll: true)))
    #expect(names(state.handle(.chunkUnreadable(0, error))) == ["fail [1]"])
  }

  @Test func twoManifestsThatNameDifferentListsLeaveNone() throws {
    var state = state(nil, .strict)
    _ = state.handle(.listChanged(try list(), named: Self.digest, isOwn: false))
    #expect(state.servesPartial && !state.needsList(Self.digest))
    #expect(names(state.handle(.listChanged(nil, named: nil, isOwn: false))) == ["recheck true"])
    #expect(!state.servesPartial && state.wantsAllBytes)
    #expect(names(state.handle(.listChanged(try list(), named: nil, isOwn: true))) == ["recheck false"])
    #expect(state.servesPartial, "a list of an own verification goes before all others")
  }

  @Test func waitsEndByTheirDeadlineAndWithTheirReaders() {
    var state = state()
    _ = state.handle(.wait(waiter(1)))
    _ = state.handle(.wait(State.Waiter(2, 0..<9, needsWhole: false, caller: 7, isReader: true, since: now)))
    var sweep = state.sweep(now: now + .seconds(9), deadline: .seconds(10), dying: [7]) { _ in now }
    #expect(sweep.killed.map(\.reply) == [2] && sweep.late.isEmpty && !sweep.isOver)
    state.isHashing = true
    sweep = state.sweep(now: now + .seconds(11), deadline: .seconds(10), dying: []) { _ in now }
    #expect(sweep.late.isEmpty, "hashing is progress")
    state.isHashing = false
    sweep = state.sweep(now: now + .seconds(11), deadline: .seconds(10), dying: []) { _ in now + .seconds(2) }
    #expect(sweep.late.isEmpty, "a byte that arrived is progress")
    sweep = state.sweep(now: now + .seconds(13), deadline: .seconds(10), dying: []) { _ in now + .seconds(2) }
    #expect(sweep.late.map(\.reply) == [1] && sweep.isOver)
    #expect(state.hit(0..<10, now: now + .seconds(13), progress: now).hasTimedOut)
    #expect(state.hit(0..<10, now: now + .seconds(15), progress: now).isMiss, "the next read tries again")
  }
}

/// Whatever happens in whatever order, every waiter is answered or failed exactly once, and only with bytes it may see.
struct BlobStateRandomTests {
  typealias State = BlobState<Int, FakeBlocks, String>

  private static let size: Int64 = 2 << 20

  @Test(arguments: SeededGenerator.seeds(0..<200))
  func everyWaitEndsOnce(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let blocks = FakeBlocks(size: Self.size)
    let digest = Verification.digest(of: [1])
    let strict = Bool.random(using: &generator)
    let rule = ServingRule(verify: strict ? .strict : .deferred, isSmall: false)
    var state = State(.partial(blocks), digest: digest, size: Self.size, rule: rule)
    let error = ContentError(.unreachable, "x", "y")
    var open: [Int: State.Waiter] = [:]
    var next = 0
    func end(_ actions: [State.Action]) {
      for action in actions {
        switch action {
        case .answer(let waiters, let content):
          for waiter in waiters {
            #expect(open.removeValue(forKey: waiter.reply) != nil, "seed \(seed): answered twice")
            guard case .partial = content else { continue }
            #expect(!strict && !waiter.needsWhole && blocks.contains(waiter.range), "seed \(seed)")
          }
        case .fail(let waiters, _), .failChunk(let waiters, _, _):
          for waiter in waiters {
            #expect(open.removeValue(forKey: waiter.reply) != nil, "seed \(seed): failed twice")
          }
        default: break
        }
      }
    }
    for _ in 0..<100 {
      let first = Int64.random(in: 0..<Self.size - 1, using: &generator)
      let run = Int(first / BlockMap.blockSize)..<Int(first / BlockMap.blockSize) + 1
      switch Int.random(in: 0..<12, using: &generator) {
      case 0...3:
        let forAll = Int.random(in: 0..<8, using: &generator) == 0
        let waiter = State.Waiter(
          next,
          first..<min(Self.size, first + 100_000),
          needsWhole: forAll,
          caller: nil,
          isReader: Bool.random(using: &generator),
          since: .now
        )
        open[next] = waiter
        next += 1
        end(state.handle(.wait(waiter)))
      case 4...7:
        blocks.insert(run)
        end(state.handle(.arrived))
      case 8: end(state.handle(.flightFailed([run], error, sparesReaders: Bool.random(using: &generator))))
      case 9: end(state.handle(.hashed(digest)))
      case 10: end(state.handle(Bool.random(using: &generator) ? .committed("f") : .condemned(error)))
      default: end(state.handle(.commitFailed(error, file: Bool.random(using: &generator) ? "f" : nil)))
      }
      #expect(Set(state.waiters.all.map(\.reply)) == Set(open.keys), "seed \(seed)")
    }
    end(state.handle(.waitFailed(error, onlyForAllBytes: false)))
    #expect(open.isEmpty, "seed \(seed)")
  }
}

extension BlobState.Hit {
  fileprivate var isMiss: Bool { if case .miss = self { true } else { false } }
  fileprivate var isRefused: Bool { if case .refusedChunk = self { true } else { false } }
  fileprivate var hasTimedOut: Bool { if case .justTimedOut = self { true } else { false } }
}
