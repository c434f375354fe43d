import Hashing
import BlobCache
import Content
import Fetching
import LocalRegistry
import OCI
import SystemPackage
import TestSupport
import Testing

struct TrustedChunksTests {
  private let bytes = SeededGenerator.bytes(5 << 20 | 100, seed: 4)
  private var list: ChunkList { ModelChunks.list(of: bytes) }

  @Test func aListOfAnotherLengthIsNone() {
    #expect(ChunkList(list.bytes, blobSize: Int64(bytes.count), chunkSize: 1 << 20)?.count == 6)
    #expect(ChunkList(Array(list.bytes.dropLast()), blobSize: Int64(bytes.count), chunkSize: 1 << 20) == nil)
    #expect(ChunkList(list.bytes, blobSize: Int64(bytes.count), chunkSize: 2 << 20) == nil)
    for size: Int64 in [0, -1, 1, 65_535, 65_537, 17 << 20, .max] {
      #expect(!ChunkList.isUsable(chunkSize: size))
      #expect(ChunkList(list.bytes, blobSize: Int64(bytes.count), chunkSize: size) == nil)
    }
  }

  @Test func chunksKnowTheirBytes() {
    for chunk in 0..<list.count {
      let range = list.range(of: chunk)
      let part = Array(bytes[Int(range.lowerBound)..<Int(range.upperBound)])
      #expect(part.withUnsafeBytes { list.matches($0, chunk: chunk) })
      #expect(!part.dropLast().withUnsafeBytes { list.matches(UnsafeRawBufferPointer($0), chunk: chunk) })
      #expect(!part.withUnsafeBytes { list.matches($0, chunk: (chunk + 1) % list.count) })
    }
    #expect(list.chunks(touching: 0..<0).isEmpty)
    #expect(list.chunks(touching: (1 << 20) - 1..<(1 << 20) + 1) == 0..<2)
  }

  @Test func aRangeIsReadyOnceEachOfItsChunksWasRight() {
    var chunks = TrustedChunks(list)
    let range: Range<Int64> = (1 << 20) - 10..<(2 << 20) + 10
    #expect(!chunks.covers(range))
    let first = chunks.takeUnchecked(in: range) { $0.lowerBound < 2 << 20 }
    #expect(first == [0, 1])
    let again = chunks.takeUnchecked(in: range) { _ in true }
    #expect(again == [2], "each is verified once")
    chunks.pass(0)
    chunks.pass(1)
    #expect(!chunks.covers(range))
    chunks.pass(2)
    #expect(chunks.covers(range))
    #expect(chunks.aligned(5..<6) == 0..<1 << 20)
    #expect(chunks.aligned((5 << 20) + 1..<(5 << 20) + 2) == 5 << 20..<Int64(bytes.count))
  }

  @Test func aWrongChunkIsAskedForOnceMoreAndThenLeftAlone() {
    var chunks = TrustedChunks(list)
    let now = ContinuousClock.now
    let first = chunks.fail(2, refusedUntil: now + .seconds(30))
    #expect(first == .retry)
    #expect(chunks.firstRefused(in: 0..<6 << 20, now: now) == nil)
    let second = chunks.fail(2, refusedUntil: now + .seconds(30))
    #expect(second == .giveUp)
    #expect(chunks.firstRefused(in: 0..<Int64(bytes.count), now: now) == 2)
    #expect(chunks.firstRefused(in: 0..<2 << 20, now: now) == nil)
    #expect(chunks.firstRefused(in: 0..<Int64(bytes.count), now: now + .seconds(31)) == nil)
    chunks.pass(2)
    #expect(chunks.firstRefused(in: 0..<Int64(bytes.count), now: now) == nil)
  }

  @Test func eachChunkIsVerifiedByItselfAndAllOfThemAreTheBlob() throws {
    let list = ModelChunks.states(of: bytes)
    let digest = Verification.digest(of: bytes)
    #expect(list.isProof(of: digest))
    #expect(!list.isProof(of: Verification.digest(of: [1])))
    #expect(!ModelChunks.list(of: bytes).isProof(of: digest))
    func matches(_ content: ArraySlice<UInt8>, _ chunk: Int) -> Bool {
      content.withUnsafeBytes { list.matches($0, chunk: chunk) }
    }
    for chunk in (0..<list.count).reversed() {
      let range = Int(list.range(of: chunk).lowerBound)..<Int(list.range(of: chunk).upperBound)
      #expect(matches(bytes[range], chunk))
      var wrong = bytes
      wrong[range.upperBound - 1] ^= 1
      #expect(!matches(wrong[range], chunk), "chunk \(chunk), its last byte")
      #expect(!matches(bytes[range].dropLast(), chunk), "chunk \(chunk), a byte short")
    }
    #expect(!matches(bytes[..<(1 << 20)], 1), "the right bytes at another position")
  }

  @Test func aListOfStatesOfAnotherBlobIsNone() throws {
    let folder = try TemporaryFolder()
    let store = ChunkListStore(root: RegistryRoot(path: .init(folder.path)))
    try folder.write([], to: ".weightfs/state/chunks/x")
    let blob = Descriptor(mediaType: .empty, digest: Verification.digest(of: bytes), size: Int64(bytes.count))
    var others = bytes
    others[0] ^= 1
    try store.write(ModelChunks.states(of: others), of: blob.digest)
    #expect(store.read(blob) == nil)
    try store.write(ModelChunks.states(of: bytes), of: blob.digest)
    #expect(store.read(blob) == ModelChunks.states(of: bytes))
  }

  @Test func listsOutliveTheProgramAndAreCheckedWhenAManifestNamesThem() throws {
    let folder = try TemporaryFolder()
    let root = RegistryRoot(path: .init(folder.path))
    try folder.write([], to: ".weightfs/state/chunks/x")
    let blob = Descriptor(mediaType: .empty, digest: Verification.digest(of: bytes), size: Int64(bytes.count))
    let store = ChunkListStore(root: root)
    #expect(store.read(blob) == nil)
    try store.write(list, of: blob.digest)
    #expect(store.read(blob) == list)
    var other = blob
    other.size += 1
    #expect(store.read(other) == nil, "of a blob of another size")
    let digest = Verification.digest(of: list.bytes)
    try store.write(list, of: blob.digest, list: digest)
    #expect(store.read(blob, list: digest) == list)
    let name = ".weightfs/state/chunks/sha256-\(blob.digest.hex)-sha256-\(digest.hex)"
    var written = try folder.read(name)
    written[30] ^= 1
    try folder.write(written, to: name)
    #expect(store.read(blob, list: digest) == nil, "it no longer matches the digest in the manifest")
  }
}

/// Chunk lists of bytes.
enum ModelChunks {
  static func list(of bytes: [UInt8], chunkSize: Int = 1 << 20) -> ChunkList {
    var digests: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: chunkSize) {
      digests += Verification.digest(of: Array(bytes[start..<min(start + chunkSize, bytes.count)])).bytes
    }
    guard let list = ChunkList(digests, blobSize: Int64(bytes.count), chunkSize: Int64(chunkSize)) else {
      preconditionFailure("a list that is none")
    }
    return list
  }

  /// Returns the states of the blob's own digest after each chunk.
  static func states(of bytes: [UInt8], chunkSize: Int = 1 << 20) -> ChunkList {
    var entries: [UInt8] = []
    var stream = HashStream(.sha256)
    for start in stride(from: 0, to: bytes.count, by: chunkSize) {
      bytes[start..<min(start + chunkSize, bytes.count)].withUnsafeBytes { stream.update($0) }
      entries += start + chunkSize < bytes.count ? stream.state?.bytes ?? [] : stream.finish().bytes
    }
    guard
      let list = ChunkList(entries, blobSize: Int64(bytes.count), chunkSize: Int64(chunkSize), kind: .states)
    else { preconditionFailure("a list that is none") }
    return list
  }

  static func list(of bytes: [UInt8], kind: ChunkList.Kind) -> ChunkList {
    kind == .digests ? list(of: bytes) : states(of: bytes)
  }
}
