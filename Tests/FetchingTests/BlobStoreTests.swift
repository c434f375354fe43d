import Layouts
import BlobCache
import Content
import Fetching
import Foundation
import LocalRegistry
import Logging
import OCI
import Synchronization
import SystemPackage
import Telemetry
import TestSupport
import Testing

struct BlobStoreTests {
  private let folder: TemporaryFolder
  private let metrics = Metrics()

  init() throws { folder = try TemporaryFolder() }

  private func store(
    root: String = "root",
    _ configure: (inout FetchPolicy) -> Void = { _ in }
  ) throws -> BlobStore {
    var policy = FetchPolicy()
    policy.fill = .demand
    policy.smallBlob = 1 << 20
    policy.requestSize = 2 << 20
    // If the machine stalls for seconds, a second request would be sent.
    policy.minimumRate = 0
    configure(&policy)
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let local = try LocalRegistry(
      root: RegistryRoot(path: FilePath(folder.path(root))),
      additionalStores: [],
      metrics: metrics,
      log: log
    )
    return BlobStore(local: local, policy: policy, isOffline: false, metrics: metrics, log: log)
  }

  private func repository(_ megabytes: Int = 8, seed: UInt64 = 1) -> MemoryRepository {
    MemoryRepository(SeededGenerator.bytes(megabytes << 20 | 12_345, seed: seed))
  }

  @Test func aReadBringsItsBytesAndLittleElse() async throws {
    let source = repository(64)
    let blob = try await store().open(source.descriptor, layout: nil, source: source)
    #expect(
      try await blob.bytes(40 << 20..<(40 << 20) + 10).get()
        == Array(source.bytes[40 << 20..<(40 << 20) + 10])
    )
    #expect(source.sentBytes == 65_536)
    #expect(blob.status.presence == .partial)
  }

  @Test(arguments: SeededGenerator.seeds([1, 2, 3]))
  func sixteenReadersAtRandomAreAlwaysRightAndEachBlockIsFetchedOnce(_ seed: UInt64) async throws {
    let source = repository(12, seed: seed)
    let blob = try await store { $0.fill = .background }.open(source.descriptor, layout: nil, source: source)
    let size = source.descriptor.size
    await withTaskGroup(of: Void.self) { group in
      for reader in 0..<16 as Range<UInt64> {
        group.addTask {
          var generator = SeededGenerator(seed: seed * 100 + reader)
          for _ in 0..<40 {
            let start = Int64.random(in: 0..<size, using: &generator)
            let end = min(size, start + Int64.random(in: 1...200_000, using: &generator))
            let found = try? await blob.bytes(start..<end).get()
            #expect(
              found == Array(source.bytes[Int(start)..<Int(end)]),
              "seed \(seed), reader \(reader), \(start)..<\(end)"
            )
          }
        }
      }
    }
    try await blob.complete()
    #expect(blob.status == BlobStatus(presence: .complete, cachedBytes: size, verified: .blob))
    #expect(source.mostSent == 1)
  }

  @Test func whatWasFetchedAheadIsOnTheDiskWhenTheCommandEnds() async throws {
    let source = repository(8)
    let blob = try await store().open(source.descriptor, layout: nil, source: source)
    // Ends within a piece that is written at once.
    try await blob.prefetch(0..<(3 << 20) - 5)
    let digest = source.descriptor.digest
    let file = try folder.read("root/.weightfs/partial/sha256/\(digest.hex)")
    #expect(file[..<((3 << 20) - 5)] == source.bytes[..<((3 << 20) - 5)])
    #expect(blob.status(of: 0..<(3 << 20) - 5).presence == .complete)
  }

  @Test func backwardsReadsAreRight() async throws {
    let source = repository(3)
    let blob = try await store().open(source.descriptor, layout: nil, source: source)
    var end = source.descriptor.size
    while end > 0 {
      let start = max(0, end - 50_000)
      #expect(try await blob.bytes(start..<end).get() == Array(source.bytes[Int(start)..<Int(end)]))
      end = start
    }
    #expect(source.mostSent == 1)
    #expect(await eventually { blob.status.presence == .complete })
  }

  @Test func backgroundFillCompletesAfterTheFirstRead() async throws {
    let source = repository()
    let store = try store { $0.fill = .background }
    let blob = try await store.open(source.descriptor, layout: nil, source: source)
    _ = await blob.bytes(5 << 20..<(5 << 20) + 1)
    #expect(await eventually(seconds: 240) { blob.status.verified == .blob })
    #expect(metrics.committedBlobs.value == 1)
    let path = folder.path("root/.weightfs/blobs/sha256/\(source.descriptor.digest.hex)")
    #expect(Array(try Data(contentsOf: URL(filePath: path))) == source.bytes)
  }

  @Test func smallBlobsAreVerifiedBeforeTheFirstByte() async throws {
    let source = repository(0)
    let blob = try await store().open(source.descriptor, layout: nil, source: source)
    #expect(try await blob.bytes(0..<1).get() == [source.bytes[0]])
    #expect(blob.status.verified == .blob)
    let lie = SeededGenerator.bytes(12_345, seed: 99)
    let bad = MemoryRepository(SeededGenerator.bytes(12_345, seed: 98), sent: lie)
    let other = try await store().open(bad.descriptor, layout: nil, source: bad)
    #expect(await other.failure(0..<1) == .corrupt)
  }

  @Test func strictServesNothingUnverified() async throws {
    var wrong = SeededGenerator.bytes(4 << 20, seed: 4)
    let right = wrong
    wrong[3 << 20] ^= 1
    let source = MemoryRepository(right, sent: wrong)
    let blob = try await store { $0.verify = .strict }.open(source.descriptor, layout: nil, source: source)
    #expect(await blob.failure(0..<1) == .corrupt, "the wrong byte is far away, but nothing is served")
    let good = MemoryRepository(right)
    let fresh = try store(root: "other") { $0.verify = .strict }
    let verified = try await fresh.open(good.descriptor, layout: nil, source: good)
    #expect(try await verified.bytes(7..<9).get() == Array(right[7..<9]))
  }

  @Test func aWrongBlobIsNeverCommittedAndRefusedForAWhile() async throws {
    let right = SeededGenerator.bytes(4 << 20, seed: 4)
    var wrong = right
    wrong[100] ^= 1
    let source = MemoryRepository(right, sent: wrong)
    let store = try store { $0.fill = .background }
    let watcher = BadBlobWatcher()
    store.delegate = watcher
    let blob = try await store.open(source.descriptor, layout: nil, source: source)
    _ = await blob.bytes(2 << 20..<(2 << 20) + 1)
    #expect(await eventually(seconds: 240) { blob.badness != nil })
    #expect(await blob.failure(0..<1) == .corrupt)
    #expect(metrics.badBlobs.value == 1)
    #expect(watcher.calls.withLock { $0 }.first == "bad \(source.descriptor.digest)")
    #expect(await eventually { watcher.calls.withLock { $0.count } == 2 })
    let fetches = source.fetches.count
    await #expect(throws: ContentError.self) {
      try await store.open(source.descriptor, layout: nil, source: source)
    }
    #expect(source.fetches.count == fetches, "it is not fetched again in a loop")
    #expect(!folder.has("root/.weightfs/blobs/sha256/\(source.descriptor.digest.hex)"))
    #expect(!folder.has("root/.weightfs/partial/sha256/\(source.descriptor.digest.hex)"))
  }

  @Test func aSourceThatFailsFailsTheReadAndTheNextOneGoesOn() async throws {
    let source = repository()
    let blob = try await store().open(source.descriptor, layout: nil, source: source)
    _ = await blob.bytes(0..<1)
    source.setFault(.error(.unreachable))
    #expect(await blob.failure(4 << 20..<(4 << 20) + 1) == .unreachable)
    source.setFault(nil)
    #expect(try await blob.bytes(4 << 20..<(4 << 20) + 1).get() == [source.bytes[4 << 20]])
    #expect(source.mostSent == 1)
  }

  @Test func whatCameBeforeACutIsKept() async throws {
    let source = repository()
    let blob = try await store().open(source.descriptor, layout: nil, source: source)
    source.setFault(.cut(300_000))
    _ = await blob.bytes(0..<1_000_000)
    source.setFault(nil)
    // A flight in progress may fail its waiters once more; then it continues where it was cut.
    let expected = Array(source.bytes[0..<1_000_000])
    #expect(await eventually { (try? await blob.bytes(0..<1_000_000).get()) == expected })
    // Only blocks that were cut in the middle are sent twice.
    #expect(source.resent <= 2)
  }

  @Test func aStalledSourceEndsByTheDeadline() async throws {
    let source = repository()
    source.setFault(.stall)
    let blob = try await store { $0.deadline = .seconds(1) }.open(
      source.descriptor,
      layout: nil,
      source: source
    )
    let start = ContinuousClock.now
    #expect(await blob.failure(0..<1) == .timedOut)
    #expect(ContinuousClock.now - start < .seconds(25))
  }

  @Test func aSourceWithoutRangesIsStreamedOnceAndKept() async throws {
    let source = repository()
    source.setFault(.ignoresRanges)
    let blob = try await store { $0.fill = .background }.open(source.descriptor, layout: nil, source: source)
    #expect(
      try await blob.bytes(6 << 20..<(6 << 20) + 9).get() == Array(source.bytes[6 << 20..<(6 << 20) + 9])
    )
    #expect(await eventually { blob.status.presence == .complete })
    #expect(source.fetches.count == 1)
    #expect(source.mostSent == 1)
  }

  @Test func twoProcessesFetchEachBlockOnce() async throws {
    let source = repository(16)
    // Two stores over one root share only the disk, like two processes.
    let first = try await store { $0.fill = .background }.open(source.descriptor, layout: nil, source: source)
    let second = try await store { $0.fill = .background }.open(
      source.descriptor,
      layout: nil,
      source: source
    )
    async let one: Void = first.complete()
    async let two: Void = second.complete()
    _ = try await (one, two)
    #expect(source.mostSent == 1)
    #expect(first.status.verified == .blob)
    #expect(second.status.verified == .blob)
  }

  @Test func anEmptyBlobIsComplete() async throws {
    let source = MemoryRepository([])
    let blob = try await store().open(source.descriptor, layout: nil, source: source)
    try await blob.complete()
    #expect(blob.status.presence == .complete)
  }

  @Test func aFileThatWeightfsDidNotWriteIsServedThenVerifiedOnce() async throws {
    let bytes = SeededGenerator.bytes(2 << 20, seed: 3)
    try LayoutMaker.write(folder, "layout", layers: [LayoutMaker.file("x", bytes)])
    let store = try store()
    let layout = OCIDirectory(path: FilePath(folder.path("layout")), executor: store.local.executor)
    let descriptor = Descriptor(
      mediaType: .empty,
      digest: Verification.digest(of: bytes),
      size: Int64(bytes.count)
    )
    let blob = try await store.open(descriptor, layout: layout, source: nil)
    #expect(try await blob.bytes(5..<9).get() == Array(bytes[5..<9]))
    #expect(await eventually(seconds: 240) { blob.status.verified == .blob })
    // The result is stored: another store needs no hashing.
    #expect(await (try self.store()).status(descriptor, layout: layout).verified == .blob)
  }

  @Test func aForeignFileThatIsWrongTurnsBad() async throws {
    let bytes = SeededGenerator.bytes(2 << 20, seed: 3)
    try LayoutMaker.write(folder, "layout", layers: [LayoutMaker.file("x", bytes)])
    let digest = Verification.digest(of: bytes)
    var wrong = bytes
    wrong[5] ^= 1
    try folder.write(wrong, to: "layout/blobs/sha256/\(digest.hex)")
    let store = try store { $0.verify = .strict }
    let layout = OCIDirectory(path: FilePath(folder.path("layout")), executor: store.local.executor)
    let descriptor = Descriptor(mediaType: .empty, digest: digest, size: Int64(bytes.count))
    let blob = try await store.open(descriptor, layout: layout, source: nil)
    #expect(await blob.failure(0..<1) == .corrupt)
  }

  @Test func bytesOfAnotherSourceAreNotServedUnverified() async throws {
    let right = SeededGenerator.bytes(4 << 20, seed: 6)
    var wrong = right
    wrong[7] ^= 1
    let liar = MemoryRepository(right, sent: wrong, origin: "liar")
    let honest = MemoryRepository(right, origin: "honest")
    let store = try store()
    let poisoned = try await store.open(liar.descriptor, layout: nil, source: liar)
    _ = await poisoned.bytes(0..<10)
    let blob = try await store.open(honest.descriptor, layout: nil, source: honest)
    let first = await blob.failure(0..<10)
    #expect(first == .corrupt, "bytes of another source are present: all are verified before any is served")
    let again = try await store.open(honest.descriptor, layout: nil, source: honest)
    #expect(
      try await again.bytes(0..<10).get() == Array(right[0..<10]),
      "the source of the right bytes is not refused"
    )
    await #expect(throws: ContentError.self) {
      try await store.open(liar.descriptor, layout: nil, source: liar)
    }
  }

  @Test func aSizeThatAnotherManifestClaimsHarmsNothing() async throws {
    let source = repository()
    let store = try store()
    let blob = try await store.open(source.descriptor, layout: nil, source: source)
    _ = await blob.bytes(0..<10)
    var lie = source.descriptor
    lie.size = 1 << 40
    await #expect(throws: ContentError.self) { try await store.open(lie, layout: nil, source: source) }
    #expect(await blob.failure(100 << 20..<(100 << 20) + 1) == .corrupt)
    try await blob.complete()
    await #expect(throws: ContentError.self) { try await self.store().open(lie, layout: nil, source: source) }
    #expect(try await store.open(source.descriptor, layout: nil, source: source).status.verified == .blob)
  }

  @Test func withoutASourceAMissingBlobIsAClearError() async throws {
    let descriptor = repository().descriptor
    let blob = try await store().open(descriptor, layout: nil, source: nil)
    #expect(await blob.failure(0..<1) == .notFound)
    await #expect(throws: ContentError.self) { try await blob.complete() }
  }

  @Test func aProfileOfASourceWithoutRangesIsNotAskedForAgainAndAgain() async throws {
    let source = repository()
    source.setFault(.ignoresRanges)
    let store = try store { $0.appliesProfiles = true }
    let profiles = AccessProfileStore(root: store.local.root)
    try profiles.write(AccessProfile(source.descriptor, runs: [5..<6, 2..<3]))
    let blob = try await store.open(source.descriptor, layout: nil, source: source)
    #expect(await eventually(seconds: 240) { blob.status(of: 5 << 20..<6 << 20).presence == .complete })
    #expect(await eventually { blob.status(of: 2 << 20..<3 << 20).presence == .complete })
    #expect(source.fetches.count == 1)
    withExtendedLifetime(blob) {}
  }
}

/// Records the delegate calls of a store in order.
private final class BadBlobWatcher: BlobStoreDelegate {
  let calls = Mutex<[String]>([])

  func blobTurnedBad(_ digest: Digest) { calls.withLock { $0.append("bad \(digest)") } }
  func blobBecameComplete(_ digest: Digest) { calls.withLock { $0.append("complete \(digest)") } }
  func pagesAreWrong(_ digest: Digest) { calls.withLock { $0.append("pages \(digest)") } }
}
