import Hashing
import BlobCache
import Disk
import Content
import Foundation
import LocalRegistry
import Logging
import OCI
import SystemPackage
import Telemetry
import TestSupport
import Testing

struct BlobPoolTests {
  private let folder: TemporaryFolder
  private let bytes = SeededGenerator.bytes((3 << 20) + 1234, seed: 5)

  init() throws { folder = try TemporaryFolder() }

  private var descriptor: Descriptor {
    Descriptor(mediaType: .empty, digest: Verification.digest(of: bytes), size: Int64(bytes.count))
  }

  private func registry(boot: UInt8 = 1) throws -> LocalRegistry {
    try LocalRegistry(
      root: RegistryRoot(path: FilePath(folder.path("root"))),
      additionalStores: [],
      metrics: Metrics(),
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      bootIdentifier: [UInt8](repeating: boot, count: 16)
    )
  }

  private func complete(_ registry: LocalRegistry) throws -> BlobFile? {
    if case .file(let file, true) = try registry.pool.complete(descriptor) { file } else { nil }
  }

  private func write(_ blob: PartialBlob, _ range: Range<Int>) throws {
    _ = try bytes.withUnsafeBytes { buffer in
      try blob.write(UnsafeRawBufferPointer(rebasing: buffer[range]), at: Int64(range.lowerBound))
    }
  }

  private func fill(_ blob: PartialBlob, _ blocks: Range<Int>) throws {
    let runs = try #require(try blob.claim(blocks))
    for run in runs.missing {
      let range = blob.blocks.bytes(of: run)
      // In pieces as received from a connection: a block is complete only with its last piece.
      for start in stride(from: Int(range.lowerBound), to: Int(range.upperBound), by: 10_007) {
        try write(blob, start..<min(start + 10_007, Int(range.upperBound)))
      }
    }
  }

  @Test func piecesFillBlocksAndOnlyClaimedOnes() throws {
    let blob = try registry().pool.partial(descriptor)
    _ = try #require(try blob.claim(0..<2))
    try write(blob, 0..<100_000)
    #expect(blob.contains(0..<65_536))
    #expect(!blob.contains(65_536..<100_000))
    try write(blob, 100_000..<200_000)
    #expect(blob.contains(0..<131_072))
    #expect(!blob.contains(131_072..<131_073), "block 2 was not claimed")
    #expect(blob.presentBytes == 131_072)
  }

  @Test func theMapOutlivesAProcess() throws {
    try fill(try registry().pool.partial(descriptor), 5..<9)
    let again = try registry().pool.partial(descriptor)
    #expect(again.contains(5 * 65_536..<9 * 65_536))
    #expect(again.presentBytes == 4 * 65_536)
  }

  @Test func aBlockIsFetchedByOneProcessAtATime() throws {
    let first = try registry().pool.partial(descriptor)
    let second = try registry().pool.partial(descriptor)
    _ = try #require(try first.claim(0..<4))
    #expect(try second.claim(2..<6) == nil, "blocks 2 and 3 are claimed by another process")
    #expect(try second.claim(4..<6)?.missing == [4..<6])
    try write(first, 0..<65_536)
    try second.refresh(0..<4)
    #expect(second.contains(0..<65_536), "blocks written by one are visible to the other")
    first.release(1..<4)
    #expect(try second.claim(0..<4)?.missing == [1..<4])
  }

  @Test func whatLiesBeforeAnotherProcessClaimCanBeHad() throws {
    let first = try registry().pool.partial(descriptor)
    let second = try registry().pool.partial(descriptor)
    _ = try #require(try first.claim(6..<9))
    let claim = try #require(try second.claim(2..<8))
    #expect(claim.missing == [2..<6])
    #expect(claim.end == 6)
  }

  @Test func wrongBlocksAreDroppedByTheOnlyProcessThatHasThem() throws {
    let first = try registry().pool.partial(descriptor)
    try fill(first, 0..<4)
    do {
      let second = try registry().pool.partial(descriptor)
      // The other process may have hashed the blocks already.
      #expect(throws: Errno.resourceBusy) { try first.drop(0..<2) }
      #expect(second.contains(0..<65_536))
    }
    try first.drop(0..<2)
    #expect(!first.contains(0..<65_536))
    #expect(first.contains(131_072..<262_144))
    #expect(try #require(try first.claim(0..<4)).missing == [0..<2])
    // A new partial blob does not have them either.
    #expect(try !registry().pool.partial(descriptor).contains(0..<65_536))
  }

  @Test func afterAnotherBootOnlyHashedChunksCount() throws {
    let before = try registry(boot: 1).pool.partial(descriptor)
    try fill(before, 0..<before.blocks.blockCount - 1)
    for chunk in 0..<2 {
      let range = chunk << 20..<(chunk + 1) << 20
      let digest = Verification.digest(of: Array(bytes[range]))
      try before.record(ChunkRecord(kind: .digests, bytes: digest.bytes), ofChunk: chunk)
    }
    // Simulates a power loss: chunk 1 never reached the disk.
    let path = folder.path("root/.weightfs/partial/sha256/\(descriptor.digest.hex)")
    let file = try FileHandle(forUpdating: URL(filePath: path))
    try file.seek(toOffset: (1 << 20) + 17)
    try file.write(contentsOf: Data([bytes[(1 << 20) + 17] ^ 1]))
    try file.close()
    let after = try registry(boot: 2).pool.partial(descriptor)
    #expect(after.contains(0..<1 << 20), "chunk 0 was hashed and matches")
    #expect(!after.contains(1 << 20..<(1 << 20) + 1), "chunk 1 is wrong")
    #expect(!after.contains(2 << 20..<(2 << 20) + 1), "chunk 2 was never hashed")
    #expect(try registry(boot: 2).pool.partial(descriptor).presentBytes == 1 << 20)
  }

  @Test func afterAnotherBootStatesCountThoughAChunkBeforeIsLost() throws {
    let before = try registry(boot: 1).pool.partial(descriptor)
    try fill(before, 0..<before.blocks.blockCount)
    var stream = HashStream(.sha256)
    for chunk in 0..<BlockMap.chunkCount(size: descriptor.size) {
      let range = BlockMap.bytes(ofChunk: chunk, size: descriptor.size)
      bytes[Int(range.lowerBound)..<Int(range.upperBound)].withUnsafeBytes { stream.update($0) }
      let entry = range.upperBound == descriptor.size ? descriptor.digest.bytes : stream.state?.bytes
      try before.record(ChunkRecord(kind: .states, bytes: try #require(entry)), ofChunk: chunk)
    }
    let path = folder.path("root/.weightfs/partial/sha256/\(descriptor.digest.hex)")
    let file = try FileHandle(forUpdating: URL(filePath: path))
    try file.seek(toOffset: 17)
    try file.write(contentsOf: Data([bytes[17] ^ 1]))
    try file.close()
    let after = try registry(boot: 2).pool.partial(descriptor)
    #expect(!after.contains(0..<1), "chunk 0 is wrong")
    #expect(after.contains(1 << 20..<descriptor.size), "the chunks after it match their own states")
  }

  @Test func aMapUnderItsOldNameIsRenamedUnlessAnotherProcessHasIt() throws {
    let path = folder.path("root/.weightfs/partial/sha256/\(descriptor.digest.hex)")
    try fill(try registry().pool.partial(descriptor), 0..<4)
    try FileManager.default.moveItem(atPath: "\(path).map", toPath: "\(path).chunks")
    do {
      // A process of the previous version has it open, with a shared lock on its first byte.
      let other = try Disk.open(FilePath("\(path).chunks"), .readWrite, options: [.closeOnExec])
      defer { try? other.close() }
      try RangeLock.share(other, 0..<1)
      let used = try registry().pool.partial(descriptor)
      #expect(used.presentBytes == 4 * 65_536)
      #expect(folder.has("root/.weightfs/partial/sha256/\(descriptor.digest.hex).chunks"))
      #expect(try registry().pool.partialBytes(descriptor, in: 0..<descriptor.size) == 4 * 65_536)
    }
    let renamed = try registry().pool.partial(descriptor)
    #expect(renamed.presentBytes == 4 * 65_536)
    #expect(try renamed.claim(0..<8)?.missing == [4..<8], "no block is fetched twice")
    #expect(folder.has("root/.weightfs/partial/sha256/\(descriptor.digest.hex).map"))
    #expect(!folder.has("root/.weightfs/partial/sha256/\(descriptor.digest.hex).chunks"))
  }

  @Test func aDamagedMapStartsAnew() throws {
    try fill(try registry().pool.partial(descriptor), 0..<4)
    let path = folder.path("root/.weightfs/partial/sha256/\(descriptor.digest.hex).map")
    try Data("rubbish".utf8).write(to: URL(filePath: path))
    #expect(try registry().pool.partial(descriptor).presentBytes == 0)
  }

  @Test func aCommittedBlobIsReadOnlyAndComplete() throws {
    let registry = try registry()
    let blob = try registry.pool.partial(descriptor)
    try fill(blob, 0..<blob.blocks.blockCount)
    #expect(try complete(registry) == nil)
    try registry.pool.commit(blob)
    let file = try #require(try complete(registry))
    #expect(file.size == descriptor.size)
    let attributes = try FileManager.default.attributesOfItem(atPath: file.path.string)
    #expect(attributes[.posixPermissions] as? Int == 0o444)
    #expect(!folder.has("root/.weightfs/partial/sha256/\(descriptor.digest.hex)"))
    #expect(!folder.has("root/.weightfs/partial/sha256/\(descriptor.digest.hex).map"))
    #expect(Array(try Data(contentsOf: URL(filePath: file.path.string))) == bytes)
  }

  @Test func aBlobThatSomebodyWroteToIsSetAside() throws {
    let registry = try registry()
    let blob = try registry.pool.partial(descriptor)
    try fill(blob, 0..<blob.blocks.blockCount)
    try registry.pool.commit(blob)
    let path = folder.path("root/.weightfs/blobs/sha256/\(descriptor.digest.hex)")
    let file = try FileHandle(forUpdating: URL(filePath: path))
    try file.write(contentsOf: Data([0]))
    try file.close()
    #expect(try complete(registry) == nil)
    #expect(!folder.has("root/.weightfs/blobs/sha256/\(descriptor.digest.hex)"))
    #expect(folder.has("root/.weightfs/bad/sha256-\(descriptor.digest.hex)"))
  }
}
