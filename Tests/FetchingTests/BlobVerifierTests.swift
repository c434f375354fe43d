import BlobCache
import Content
@testable import Fetching
import Foundation
import Hashing
import LocalRegistry
import Logging
import OCI
import SystemPackage
import Telemetry
import TestSupport
import Testing

/// The digest of a blob while its bytes arrive, without a store around it.
struct BlobVerifierTests {
  private let folder: TemporaryFolder
  // Six chunks, the last of 100 bytes.
  private let bytes = SeededGenerator.bytes(5 << 20 | 100, seed: 14)

  init() throws { folder = try TemporaryFolder() }

  private func partial(
    of bytes: [UInt8],
    _ algorithm: Digest.Algorithm = .sha256
  ) throws -> PartialBlob {
    let local = try LocalRegistry(
      root: RegistryRoot(path: FilePath(folder.path("root"))),
      additionalStores: [],
      metrics: Metrics(),
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    )
    return try local.pool.partial(
      Descriptor(
        mediaType: .empty,
        digest: Verification.digest(of: bytes, algorithm),
        size: Int64(bytes.count)
      )
    )
  }

  /// Writes chunks as a flight does.
  private func fill(_ blob: PartialBlob, _ chunks: Range<Int>, with bytes: [UInt8]) throws {
    let size = Int64(bytes.count)
    let start = BlockMap.bytes(ofChunk: chunks.lowerBound, size: size).lowerBound
    let end = BlockMap.bytes(ofChunk: chunks.upperBound - 1, size: size).upperBound
    _ = try #require(try blob.claim(BlockMap.blocks(touching: start..<end, size: size)))
    _ = try bytes.withUnsafeBytes { buffer in
      try blob.write(UnsafeRawBufferPointer(rebasing: buffer[Int(start)..<Int(end)]), at: start)
    }
  }

  private func run(
    _ verifier: BlobVerifier,
    isHurried: Bool = false,
    mayHash: (Int) -> Bool = { _ in true }
  ) -> BlobVerifier.Outcome {
    verifier.run(mayHash, isHurried: { isHurried }, {})
  }

  private func isIncomplete(_ outcome: BlobVerifier.Outcome) -> Bool {
    if case .incomplete = outcome { true } else { false }
  }

  private func digest(_ outcome: BlobVerifier.Outcome) -> Digest? {
    if case .finished(let digest) = outcome { digest } else { nil }
  }

  @Test func theDigestFollowsTheFrontAndItsStatesMakeTheList() throws {
    let blob = try partial(of: bytes)
    let verifier = BlobVerifier(blob: blob)
    try fill(blob, 0..<2, with: bytes)
    #expect(verifier.request([0, 1]))
    #expect(isIncomplete(run(verifier)))
    #expect(verifier.chunkList == nil, "there is no list before the whole blob was hashed")
    try fill(blob, 2..<6, with: bytes)
    #expect(verifier.request([2, 3, 4, 5]))
    #expect(digest(run(verifier)) == Verification.digest(of: bytes))
    #expect(verifier.chunkList == ModelChunks.states(of: bytes))
    #expect(verifier.request([]))
    #expect(digest(run(verifier)) == Verification.digest(of: bytes), "the result is remembered")
  }

  @Test func oneRunAtATimeAndARequestDuringItMakesItLookAgain() throws {
    let blob = try partial(of: bytes)
    let verifier = BlobVerifier(blob: blob)
    try fill(blob, 0..<1, with: bytes)
    #expect(verifier.request([0]))
    var hasArrived = false
    let outcome = verifier.run(
      { _ in true },
      isHurried: { false },
      {
        // The rest arrives while the first chunk is hashed.
        guard !hasArrived else { return }
        hasArrived = true
        let isFilled = (try? fill(blob, 1..<6, with: bytes)) != nil
        #expect(isFilled)
        let startsAnother = verifier.request([1, 2, 3, 4, 5])
        #expect(!startsAnother)
      }
    )
    #expect(digest(outcome) == Verification.digest(of: bytes))
  }

  @Test func chunksBehindAGapGetDigestsOfTheirOwn() throws {
    let blob = try partial(of: bytes)
    let verifier = BlobVerifier(blob: blob)
    try fill(blob, 0..<1, with: bytes)
    try fill(blob, 3..<5, with: bytes)
    #expect(verifier.request([0, 3, 4]))
    #expect(isIncomplete(run(verifier)))
    let states = ModelChunks.states(of: bytes)
    let digests = ModelChunks.list(of: bytes)
    #expect(try blob.record(ofChunk: 0) == ChunkRecord(kind: .states, bytes: Array(states.entry(of: 0))))
    #expect(try blob.record(ofChunk: 1) == nil)
    for chunk in 3..<5 {
      let record = ChunkRecord(kind: .digests, bytes: Array(digests.entry(of: chunk)))
      #expect(try blob.record(ofChunk: chunk) == record)
    }
    try fill(blob, 1..<3, with: bytes)
    try fill(blob, 5..<6, with: bytes)
    #expect(verifier.request([1, 2, 5]))
    #expect(digest(run(verifier)) == Verification.digest(of: bytes))
    #expect(verifier.chunkList == states)
  }

  @Test func digestsBehindAGapAreLeftOutWhileBytesComeFast() throws {
    let blob = try partial(of: bytes)
    let verifier = BlobVerifier(blob: blob)
    try fill(blob, 3..<4, with: bytes)
    #expect(verifier.request([3]))
    #expect(isIncomplete(run(verifier, isHurried: true)))
    #expect(try blob.record(ofChunk: 3) == nil)
    #expect(verifier.request([]))
    #expect(isIncomplete(run(verifier)))
    #expect(try blob.record(ofChunk: 3) != nil, "it is recorded once there is time")
  }

  @Test func aChunkThatDoesNotCountYetStopsTheFront() throws {
    let blob = try partial(of: bytes)
    let verifier = BlobVerifier(blob: blob)
    try fill(blob, 0..<6, with: bytes)
    #expect(verifier.request(Array(0..<6)))
    #expect(isIncomplete(run(verifier) { $0 != 2 }))
    #expect(try blob.record(ofChunk: 1)?.kind == .states)
    #expect(try blob.record(ofChunk: 2) == nil)
    #expect(verifier.request([]))
    #expect(digest(run(verifier)) == Verification.digest(of: bytes))
  }

  @Test func wrongBytesThatWereTakenOutAreNotInTheDigest() throws {
    let blob = try partial(of: bytes)
    let verifier = BlobVerifier(blob: blob)
    var wrong = bytes
    wrong[7] ^= 1
    try fill(blob, 0..<3, with: wrong)
    #expect(verifier.request([0, 1, 2]))
    #expect(isIncomplete(run(verifier)))
    try blob.drop(BlockMap.blocks(touching: 0..<1 << 20, size: Int64(bytes.count)))
    verifier.forget(0..<1)
    try fill(blob, 0..<1, with: bytes)
    try fill(blob, 3..<6, with: bytes)
    #expect(verifier.request([0, 3, 4, 5]))
    #expect(digest(run(verifier)) == Verification.digest(of: bytes))
    #expect(verifier.chunkList == ModelChunks.states(of: bytes))
  }

  @Test func wrongBytesGiveAnotherDigest() throws {
    let blob = try partial(of: bytes)
    let verifier = BlobVerifier(blob: blob)
    var wrong = bytes
    wrong[bytes.count - 1] ^= 1
    try fill(blob, 0..<6, with: wrong)
    #expect(verifier.request(Array(0..<6)))
    #expect(digest(run(verifier)) == Verification.digest(of: wrong))
  }

  @Test func aFileThatLostItsBytesFailsTheRunAndTheNextOneBeginsAtTheStart() throws {
    let blob = try partial(of: bytes)
    let verifier = BlobVerifier(blob: blob)
    try fill(blob, 0..<6, with: bytes)
    try #require(ftruncate(blob.file.rawValue, 1 << 20) == 0)
    #expect(verifier.request(Array(0..<6)))
    guard case .failed(let error) = run(verifier) else {
      Issue.record("a short file was hashed")
      return
    }
    #expect(error.code == .disk && error.subject == "\(blob.path)")
    let written = bytes.withUnsafeBytes { pwrite(blob.file.rawValue, $0.baseAddress, $0.count, 0) }
    try #require(written == bytes.count)
    #expect(verifier.request([]), "the run that failed is over")
    #expect(digest(run(verifier)) == Verification.digest(of: bytes))
    #expect(verifier.chunkList != nil, "the entries are those of the run that came to the end")
  }

  @Test func aLongRunLetsOthersHaveATurn() throws {
    let bytes = [UInt8](repeating: 0, count: 66 << 20)
    let blob = try partial(of: bytes)
    let verifier = BlobVerifier(blob: blob)
    try fill(blob, 0..<66, with: bytes)
    #expect(verifier.request([]))
    guard case .more = run(verifier) else {
      Issue.record("66 chunks were hashed in one turn")
      return
    }
    #expect(!verifier.request([]), "the run is not over")
    #expect(digest(run(verifier)) == Verification.digest(of: bytes))
  }

  @Test func aDigestWithoutStatesHasNoList() throws {
    let blob = try partial(of: bytes, .sha512)
    let verifier = BlobVerifier(blob: blob)
    try fill(blob, 0..<6, with: bytes)
    #expect(verifier.request(Array(0..<6)))
    #expect(digest(run(verifier)) == Verification.digest(of: bytes, .sha512))
    #expect(verifier.chunkList == nil)
  }
}
