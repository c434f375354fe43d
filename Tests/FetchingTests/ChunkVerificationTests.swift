import BlobCache
import Content
import Fetching
import Foundation
import LocalRegistry
import Logging
import OCI
import SystemPackage
import Telemetry
import TestSupport
import Testing

/// Blobs with a trusted list: each byte is verified before it is served.
struct ChunkVerificationTests {
  private let folder: TemporaryFolder
  private let metrics = Metrics()
  private let bytes = SeededGenerator.bytes(12 << 20 | 4321, seed: 8)

  init() throws { folder = try TemporaryFolder() }

  private func store(_ configure: (inout FetchPolicy) -> Void = { _ in }) throws -> BlobStore {
    var policy = FetchPolicy()
    policy.fill = .demand
    policy.smallBlob = 1 << 20
    policy.requestSize = 2 << 20
    configure(&policy)
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let local = try LocalRegistry(
      root: RegistryRoot(path: FilePath(folder.path("root"))),
      additionalStores: [],
      metrics: metrics,
      log: log
    )
    return BlobStore(local: local, policy: policy, isOffline: false, metrics: metrics, log: log)
  }

  /// Stores a list as an earlier verification does.
  private func keepList(_ kind: ChunkList.Kind = .digests) throws {
    _ = try store()
    let lists = ChunkListStore(root: RegistryRoot(path: FilePath(folder.path("root"))))
    try lists.write(ModelChunks.list(of: bytes, kind: kind), of: Verification.digest(of: bytes))
  }

  @Test(arguments: [.digests, .states] as [ChunkList.Kind])
  func aReadBringsItsChunkVerifiedAndNoMoreEvenIfStrict(_ kind: ChunkList.Kind) async throws {
    try keepList(kind)
    let source = MemoryRepository(bytes)
    let blob = try await store { $0.verify = .strict }.open(source.descriptor, layout: nil, source: source)
    let range: Range<Int64> = (5 << 20) + 10..<(5 << 20) + 20
    #expect(try await blob.bytes(range).get() == Array(bytes[Int(range.lowerBound)..<Int(range.upperBound)]))
    #expect(source.sentBytes == 1 << 20)
    #expect(blob.status == BlobStatus(presence: .partial, cachedBytes: 1 << 20, verified: .chunk))
  }

  @Test(arguments: [.digests, .states] as [ChunkList.Kind])
  func aChunkThatCameWrongIsFetchedOnceMore(_ kind: ChunkList.Kind) async throws {
    try keepList(kind)
    let source = MemoryRepository(bytes)
    source.setWrong(3 << 20 | 77, times: 1)
    let blob = try await store().open(source.descriptor, layout: nil, source: source)
    #expect(try await blob.bytes(0..<8 << 20).get() == Array(bytes[..<(8 << 20)]))
    #expect(metrics.badChunks.value == 1)
    try await blob.complete()
    #expect(blob.status.verified == .blob)
    let path = folder.path("root/.weightfs/blobs/sha256/\(source.descriptor.digest.hex)")
    #expect(Array(try Data(contentsOf: URL(filePath: path))) == bytes)
  }

  @Test(arguments: [.digests, .states] as [ChunkList.Kind])
  func aChunkThatStaysWrongFailsItsReadersAlone(_ kind: ChunkList.Kind) async throws {
    try keepList(kind)
    let source = MemoryRepository(bytes)
    source.setWrong(3 << 20 | 77, times: 1000)
    let blob = try await store { $0.fill = .background }.open(source.descriptor, layout: nil, source: source)
    #expect(await blob.failure(3 << 20..<(3 << 20) + 10) == .corrupt)
    #expect(try await blob.bytes(0..<3 << 20).get() == Array(bytes[..<(3 << 20)]))
    #expect(try await blob.bytes(4 << 20..<12 << 20).get() == Array(bytes[(4 << 20)..<(12 << 20)]))
    #expect(
      await eventually { blob.status.cachedBytes == Int64(bytes.count) - (1 << 20) },
      "the other chunks are kept"
    )
    let fetches = source.fetches.count
    #expect(await blob.failure(3 << 20..<(3 << 20) + 10) == .corrupt)
    #expect(source.fetches.count == fetches, "it is not requested again immediately")
    #expect(blob.badness == nil)
  }

  @Test func aRefusedChunkIsAskedForAgainLater() async throws {
    try keepList()
    let source = MemoryRepository(bytes)
    source.setWrong(3 << 20 | 77, times: 2)
    let blob = try await store { $0.firstRefusal = .milliseconds(1) }.open(
      source.descriptor,
      layout: nil,
      source: source
    )
    #expect(await blob.failure(3 << 20..<(3 << 20) + 10) == .corrupt)
    let right = Array(bytes[(3 << 20)..<((3 << 20) + 10)])
    #expect(await eventually { (try? await blob.bytes(3 << 20..<(3 << 20) + 10).get()) == right })
  }

  @Test(arguments: [.digests, .states] as [ChunkList.Kind])
  func readersAtRandomGetRightBytesFromARegistryThatFlipsBits(_ kind: ChunkList.Kind) async throws {
    try keepList(kind)
    let source = MemoryRepository(bytes)
    for chunk in stride(from: 0, to: 12, by: 3) { source.setWrong(chunk << 20 | chunk, times: 1) }
    let blob = try await store { $0.fill = .background }.open(source.descriptor, layout: nil, source: source)
    let bytes = bytes
    await withTaskGroup(of: Void.self) { group in
      for reader in 0..<8 as Range<UInt64> {
        group.addTask {
          var generator = SeededGenerator(seed: reader)
          for _ in 0..<30 {
            let start = Int.random(in: 0..<bytes.count - 100_000, using: &generator)
            let end = start + Int.random(in: 1...100_000, using: &generator)
            let found = try? await blob.bytes(Int64(start)..<Int64(end)).get()
            #expect(found == Array(bytes[start..<end]), "reader \(reader)")
          }
        }
      }
    }
    try await blob.complete()
    #expect(metrics.badChunks.value == 4)
    #expect(metrics.badBlobs.value == 0)
  }

  @Test func aListIsKeptFromAVerificationAndServesTheNextFetch() async throws {
    let source = MemoryRepository(bytes)
    let first = try await store().open(source.descriptor, layout: nil, source: source)
    try await first.complete()
    let lists = ChunkListStore(root: RegistryRoot(path: FilePath(folder.path("root"))))
    #expect(await eventually { lists.read(source.descriptor) == ModelChunks.states(of: bytes) })
    try FileManager.default.removeItem(
      atPath: folder.path("root/.weightfs/blobs/sha256/\(source.descriptor.digest.hex)")
    )
    source.setWrong(1 << 20, times: 1)
    let second = try await store().open(source.descriptor, layout: nil, source: source)
    #expect(try await second.bytes(1 << 20..<(1 << 20) + 1).get() == [bytes[1 << 20]])
    #expect(second.status.verified == .chunk)
    #expect(metrics.badChunks.value == 1)
  }

  @Test func aManifestNamesAListThatIsFetchedOnce() async throws {
    let registry = ListRepository(bytes, chunkSize: 256 << 10)
    let store = try store()
    let blob = try await store.open(registry.annotated, layout: nil, source: registry)
    #expect(try await blob.bytes(100..<101).get() == [bytes[100]])
    #expect(blob.status.verified == .chunk)
    #expect(registry.model.sentBytes <= 2 << 20)
    let again = try await (try self.store()).open(registry.annotated, layout: nil, source: nil)
    #expect(again.status.verified == .chunk, "it is known without the registry")
  }

  @Test func aListOfOneManifestIsNotUsedForReadersOfAnother() async throws {
    // The wrong list matches the wrong bytes.
    var wrong = bytes
    wrong[100] ^= 1
    let liar = ListRepository(bytes, chunkSize: 256 << 10, sent: wrong, origin: "liar")
    let honest = MemoryRepository(bytes, origin: "honest")
    let store = try store()
    let poisoned = try await store.open(liar.annotated, layout: nil, source: liar)
    #expect(try await poisoned.bytes(100..<101).get() == [wrong[100]])
    let blob = try await store.open(honest.descriptor, layout: nil, source: honest)
    #expect(await blob.failure(100..<101) == .corrupt, "nothing is served before the digest is verified")
  }

  @Test func aChunkThatIsWrongInALongRequestIsFetchedWhileThatGoesOn() async throws {
    try keepList()
    let source = MemoryRepository(bytes)
    source.setWrong(0, times: 1)
    source.setFault(.stallAfter(3 << 20))
    let blob = try await store {
      $0.requestSize = 8 << 20; $0.fill = .background
    }.open(
      source.descriptor,
      layout: nil,
      source: source
    )
    #expect(try await blob.bytes(0..<10).get() == Array(bytes[..<10]))
    source.setFault(nil)
  }

  @Test func aListThatCannotBeHadLeavesTheBlobToItsWholeDigest() async throws {
    let registry = ListRepository(bytes, chunkSize: 256 << 10)
    registry.list.setFault(.error(.notFound))
    let blob = try await store().open(registry.annotated, layout: nil, source: registry)
    #expect(try await blob.bytes(100..<101).get() == [bytes[100]])
    #expect(blob.status.verified == .no)
    try await blob.complete()
    #expect(blob.status.verified == .blob)
  }

  @Test(arguments: [
    ("x", "262144"), ("sha256:00", "262144"), (nil, "262144"), ("", "-1"), ("", "0"),
    ("", "99999999999999999999"),
  ])
  func annotationsThatNameNoListAreIgnored(_ digest: String?, _ size: String) async throws {
    let source = MemoryRepository(bytes)
    var descriptor = source.descriptor
    descriptor.annotations[ChunkList.digestAnnotation] = digest == "" ? "\(source.descriptor.digest)" : digest
    descriptor.annotations[ChunkList.sizeAnnotation] = size
    let blob = try await store().open(descriptor, layout: nil, source: source)
    #expect(try await blob.bytes(100..<101).get() == [bytes[100]])
    #expect(blob.status.verified == .no)
  }
}

/// A repository that has a blob and its chunk list.
private final class ListRepository: Repository {
  let model: MemoryRepository
  let list: MemoryRepository
  private let chunkSize: Int

  init(_ bytes: [UInt8], chunkSize: Int, sent: [UInt8]? = nil, origin: String = "memory") {
    model = MemoryRepository(bytes, sent: sent, origin: origin)
    list = MemoryRepository(ModelChunks.list(of: sent ?? bytes, chunkSize: chunkSize).bytes)
    self.chunkSize = chunkSize
  }

  /// The descriptor of the layer with the annotations of the manifest.
  var annotated: Descriptor {
    var descriptor = model.descriptor
    descriptor.annotations[ChunkList.digestAnnotation] = "\(list.descriptor.digest)"
    descriptor.annotations[ChunkList.sizeAnnotation] = "\(chunkSize)"
    return descriptor
  }

  var origin: String { model.origin }
  func resolve(_ target: Reference.Target) async throws(ContentError) -> Descriptor { model.descriptor }
  func tags(limit: Int) async throws(ContentError) -> [String] { [] }
  func fetch(
    _ descriptor: Descriptor,
    range: Range<Int64>,
    into sink: any BlobSink
  ) async throws(ContentError) {
    let source = descriptor.digest == list.descriptor.digest ? list : model
    try await source.fetch(descriptor, range: range, into: sink)
  }
}
