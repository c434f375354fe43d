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

  @Test func piecesGiveTheDigestOfTheWhole() {
    let bytes = SeededGenerator.bytes(100_001, seed: 1)
    var stream = HashStream(.sha256)
    bytes.withUnsafeBytes { buffer in
      for start in stride(from: 0, to: buffer.count, by: 977) {
        stream.update(UnsafeRawBufferPointer(rebasing: buffer[start..<min(start + 977, buffer.count)]))
      }
    }
    #expect(stream.finish() == HashStream.digest(of: bytes))
    stream.reset()
    #expect(stream.finish() == HashStream.digest(of: []))
  }
}
