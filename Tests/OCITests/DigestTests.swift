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
}
