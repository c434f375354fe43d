import BlobCache
import Content
import Foundation
import LocalRegistry
import Locking
import Logging
import OCI
import SystemPackage
import Telemetry
import TestSupport
import Testing

struct BlobIngestTests {
  private let folder: TemporaryFolder
  private let local: LocalRegistry
  private static let piece = Int(BlobIngest.pieceSize)
  private let buffers = AppendBufferPool(capacity: Self.piece, limit: 4, kept: 1)

  init() throws {
    folder = try TemporaryFolder()
    local = try LocalRegistry(
      root: RegistryRoot(path: FilePath(folder.path("root"))),
      additionalStores: [],
      metrics: Metrics(),
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    )
  }

  private func blob(_ bytes: [UInt8]) throws -> PartialBlob {
    let digest = Verification.digest(of: bytes)
    return try local.pool.partial(Descriptor(mediaType: .empty, digest: digest, size: Int64(bytes.count)))
  }

  private func ingest(_ blob: PartialBlob, _ buffers: AppendBufferPool? = nil) -> BlobIngest {
    BlobIngest(into: blob, space: local.space, buffers: buffers ?? self.buffers)
  }

  /// Returns the bytes of a range as a reader of the blob gets them.
  private func read(_ blob: PartialBlob, _ range: Range<Int64>) throws -> [UInt8] {
    var found = [UInt8](repeating: 0, count: range.count)
    let count = try found.withUnsafeMutableBytes { try blob.read(into: $0, at: range.lowerBound) }
    return Array(found[..<count])
  }

  /// Returns the bytes of a range as the answer to a read of the mount.
  private func answer(_ blob: PartialBlob, _ range: Range<Int64>) async throws -> [UInt8] {
    let result: Result<[UInt8], ContentError> = await withCheckedContinuation { continuation in
      blob.answer(ReadReply(responder: AnswerResponder(continuation), token: 0), range)
    }
    return try result.get()
  }

  private func accept(
    _ ingest: BlobIngest,
    _ bytes: [UInt8],
    _ range: Range<Int>,
    isLast: Bool = false
  ) throws -> BlobIngest.Arrival {
    var arrival = try bytes[range].withUnsafeBytes { try ingest.accept($0, at: Int64(range.lowerBound)) }
    if isLast { arrival.kept += try ingest.flush() }
    return arrival
  }

  @Test func bytesAreReadableBeforeTheyAreOnTheDisk() async throws {
    let bytes = SeededGenerator.bytes(3 << 20, seed: 1)
    let blob = try blob(bytes)
    let ingest = ingest(blob)
    _ = try #require(try ingest.claim(0..<48))
    #expect(try !accept(ingest, bytes, 0..<1000).isReadable)
    let arrival = try accept(ingest, bytes, 1000..<140_000)
    #expect(arrival.isReadable)
    #expect(arrival.kept.isEmpty)
    #expect(blob.holds(0..<140_000))
    #expect(!blob.holds(0..<140_001))
    #expect(!blob.contains(0..<65_536), "nothing is on the disk yet")
    #expect(try read(blob, 70_000..<140_000) == Array(bytes[70_000..<140_000]))
    #expect(try await answer(blob, 70_000..<140_000) == Array(bytes[70_000..<140_000]))
  }

  @Test func aPieceGoesToTheDiskAtItsBorder() async throws {
    let bytes = SeededGenerator.bytes(5 << 20 | 77, seed: 2)
    let blob = try blob(bytes)
    let ingest = ingest(blob)
    _ = try #require(try ingest.claim(0..<BlockMap.blockCount(size: Int64(bytes.count))))
    let first = try accept(ingest, bytes, 0..<3 << 20)
    #expect(first.kept == [0..<32])
    #expect(blob.contains(0..<Int64(Self.piece)))
    #expect(!blob.contains(0..<3 << 20))
    // A range that is partly on the disk and partly in memory is answered completely.
    let border = Int64(Self.piece)
    #expect(
      try await answer(blob, border - 5000..<border + 5000)
        == Array(bytes[Int(border) - 5000..<Int(border) + 5000])
    )
    let last = try accept(ingest, bytes, 3 << 20..<bytes.count, isLast: true)
    #expect(last.kept.map(\.count).reduce(0, +) == 49)
    #expect(blob.isComplete)
    #expect(!ingest.hasStaged)
  }

  @Test func whatCameBeforeAnEndIsKept() throws {
    let bytes = SeededGenerator.bytes(4 << 20, seed: 3)
    let blob = try blob(bytes)
    let ingest = ingest(blob)
    _ = try #require(try ingest.claim(0..<64))
    _ = try accept(ingest, bytes, 0..<200_000)
    #expect(try ingest.flush() == [0..<3], "three blocks are complete, the fourth is not")
    #expect(blob.contains(0..<196_608))
    #expect(!blob.holds(0..<196_609), "bytes of an incomplete block are only in memory")
    ingest.release([0..<64])
    let again = self.ingest(blob)
    #expect(try again.claim(0..<64)?.missing == [3..<64])
  }

  @Test func withoutBuffersBytesGoToTheDiskAsTheyCome() throws {
    let bytes = SeededGenerator.bytes(1 << 20, seed: 4)
    let blob = try blob(bytes)
    let ingest = ingest(blob, AppendBufferPool(capacity: Self.piece, limit: 0, kept: 0))
    _ = try #require(try ingest.claim(0..<16))
    let arrival = try accept(ingest, bytes, 0..<131_072)
    #expect(arrival.kept == [0..<2])
    #expect(blob.contains(0..<131_072))
  }

  @Test func blocksThatAnotherRequestBringsAreNotWritten() throws {
    let bytes = SeededGenerator.bytes(1 << 20, seed: 5)
    let blob = try blob(bytes)
    let ingest = ingest(blob)
    _ = try #require(try ingest.claim(0..<4))
    let arrival = try accept(ingest, bytes, 0..<1 << 20, isLast: true)
    #expect(arrival.kept == [0..<4])
    #expect(!blob.holds(0..<300_000))
  }

  @Test(arguments: SeededGenerator.seeds(1...6))
  func requestsInAnyOrderGiveReadersRightBytes(_ seed: UInt64) async throws {
    var generator = SeededGenerator(seed: seed)
    let bytes = SeededGenerator.bytes(Int.random(in: 6 << 20...9 << 20, using: &generator), seed: seed)
    let blob = try blob(bytes)
    let count = BlockMap.blockCount(size: Int64(bytes.count))
    // Requests of random length over the complete blob, each with the position reached.
    var requests: [(ingest: BlobIngest, range: Range<Int>, position: Int)] = []
    var block = 0
    while block < count {
      let end = min(count, block + Int.random(in: 1...60, using: &generator))
      let ingest = ingest(blob)
      _ = try #require(try ingest.claim(block..<end))
      let range = BlockMap.bytes(of: block..<end, size: Int64(bytes.count))
      requests.append((ingest, Int(range.lowerBound)..<Int(range.upperBound), Int(range.lowerBound)))
      block = end
    }
    while let index = requests.indices.filter({ requests[$0].position < requests[$0].range.upperBound })
      .randomElement(using: &generator)
    {
      let (ingest, range, position) = requests[index]
      let end = min(range.upperBound, position + Int.random(in: 1...300_000, using: &generator))
      _ = try accept(ingest, bytes, position..<end, isLast: end == range.upperBound)
      requests[index].position = end
      let start = Int64.random(in: 0..<Int64(bytes.count), using: &generator)
      let wanted = start..<min(Int64(bytes.count), start + Int64.random(in: 1...400_000, using: &generator))
      let want = Array(bytes[Int(wanted.lowerBound)..<Int(wanted.upperBound)])
      if blob.holds(wanted) { #expect(try await answer(blob, wanted) == want, "seed \(seed), \(wanted)") }
      let fresh = Int64(position)..<Int64(end)
      #expect(try read(blob, fresh) == Array(bytes[position..<end]), "seed \(seed), \(fresh)")
    }
    #expect(blob.isComplete, "seed \(seed)")
    #expect(try folder.read("root/.weightfs/partial/sha256/\(blob.descriptor.digest.hex)") == bytes)
  }
}
