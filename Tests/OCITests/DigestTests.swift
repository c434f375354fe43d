import OCI
import Testing

struct DigestTests {
  private let hex = String(repeating: "0a", count: 32)

  @Test func parsesAndPrintsSha256AndSha512() throws {
    let text = "sha256:\(hex)"
    let digest = try #require(Digest(text))
    #expect("\(digest)" == text)
    #expect(digest.bytes == [UInt8](repeating: 10, count: 32))
    let long = "sha512:\(hex)\(hex)"
    #expect(Digest(long).map { "\($0)" } == long)
  }

  @Test(arguments: [
    "", "sha256", "sha256:", "sha256:0a", "md5:00", "sha256:" + String(repeating: "0A", count: 32),
    "sha256:" + String(repeating: "g0", count: 32), "SHA256:" + String(repeating: "0a", count: 32),
    "sha256:" + String(repeating: "0a", count: 33), " sha256:" + String(repeating: "0a", count: 32),
  ])
  func refusesWhatIsNoDigest(_ text: String) {
    #expect(Digest(text) == nil)
  }

  @Test func digestsOfDifferentAlgorithmsDiffer() {
    #expect(Digest("sha256:\(hex)") != Digest("sha512:\(hex)" + String(repeating: "00", count: 32)))
  }

  /// Release builds always align the frames of async functions to 16 bytes.
  @Test func nothingThatHoldsADigestNeedsMoreAlignmentThanAnAsyncFrameHas() {
    func check<Value>(_ type: Value.Type) {
      #expect(MemoryLayout<Value>.alignment <= 16, "\(type)")
    }
    check(Digest.self)
    check(Digest?.self)
    check(Descriptor.self)
    check(Reference.self)
    check(Reference.Target.self)
    check(RepositoryName.self)
    check(Manifest.self)
    check(Index.self)
    check(ManifestDocument.self)
    #expect(MemoryLayout<Digest>.size <= 80)
  }

  @Test func anEqualDigestHashesEquallyAndAnyByteMakesAnother() throws {
    let bytes = (0..<64).map { UInt8($0) }
    let digest = try #require(Digest(algorithm: .sha512, bytes: bytes))
    #expect(Digest("\(digest)") == digest)
    #expect(Set([digest, try #require(Digest("\(digest)"))]).count == 1)
    #expect(digest.prefix64 == 0x0001_0203_0405_0607)
    for index in bytes.indices {
      var other = bytes
      other[index] ^= 1
      #expect(Digest(algorithm: .sha512, bytes: other) != digest, "byte \(index)")
    }
  }
}
