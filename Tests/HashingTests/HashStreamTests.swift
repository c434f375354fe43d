import Hashing
import OCI
import Testing
import TestSupport

struct HashStreamTests {
  @Test func knownAnswers() {
    // FIPS 180-4, examples.
    #expect(
      HashStream.digest(of: Array("abc".utf8)).hex
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    #expect(
      HashStream.digest(of: []).hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    #expect(
      HashStream.digest(of: Array("abc".utf8), .sha512).hex
        == "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
        + "454d4423643ce80e2a9ac94fa54ca49f"
    )
  }

  @Test(arguments: SeededGenerator.seeds(1...8))
  func aMessageCanBeHashedFromTheMiddle(_ seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let bytes = SeededGenerator.bytes(Int.random(in: 1000...300_000, using: &generator), seed: seed)
    let middle = Int.random(in: 0...bytes.count / 64, using: &generator) * 64
    var first = HashStream(.sha256)
    bytes[..<middle].withUnsafeBytes { first.update($0) }
    let behind = first.state
    let state = try #require(behind)
    #expect(state.position == Int64(middle))
    // As read back from a file.
    let read = try #require(HashState(state.bytes, position: Int64(middle)))
    #expect(read == state)
    var second = HashStream(resuming: read)
    bytes[middle...].withUnsafeBytes { second.update($0) }
    let digest = second.finish()
    #expect(digest == HashStream.digest(of: bytes), "seed \(seed), from \(middle)")
  }

  @Test func statesAreThereBetweenBlocksOfSHA256Alone() {
    var stream = HashStream(.sha256)
    let begin = stream.state
    #expect(begin == .start)
    [UInt8](repeating: 1, count: 63).withUnsafeBytes { stream.update($0) }
    let within = stream.state
    #expect(within == nil)
    [UInt8](repeating: 1, count: 1).withUnsafeBytes { stream.update($0) }
    let position = stream.state?.position
    #expect(position == 64)
    var long = HashStream(.sha512)
    [UInt8](repeating: 1, count: 128).withUnsafeBytes { long.update($0) }
    let none = long.state
    #expect(none == nil)
    #expect(HashState([UInt8](repeating: 0, count: 31), position: 0) == nil)
    #expect(HashState([UInt8](repeating: 0, count: 32), position: 65) == nil)
  }

  @Test func aMessageOfManyGigabytesCanBeResumed() throws {
    // The bit count has two halves of 32 bits: 2^32 bits are 512 MiB.
    let state = try #require(HashState([UInt8](repeating: 7, count: 32), position: 5 << 30))
    var stream = HashStream(resuming: state)
    let before = stream.state
    #expect(before == state)
    [UInt8](repeating: 0, count: 64).withUnsafeBytes { stream.update($0) }
    let position: Int64? = stream.state?.position
    let want: Int64 = (5 << 30) + 64
    #expect(position == want)
  }

  @Test func piecesGiveTheDigestOfTheWhole() {
    let bytes = SeededGenerator.bytes(100_001, seed: 1)
    var stream = HashStream(.sha256)
    bytes.withUnsafeBytes { buffer in
      for start in stride(from: 0, to: buffer.count, by: 977) {
        stream.update(UnsafeRawBufferPointer(rebasing: buffer[start..<min(start + 977, buffer.count)]))
      }
    }
    let whole = stream.finish()
    #expect(whole == HashStream.digest(of: bytes))
    stream.reset()
    let empty = stream.finish()
    #expect(empty == HashStream.digest(of: []))
  }
}
