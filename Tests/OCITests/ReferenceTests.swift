import OCI
import Testing

struct ReferenceTests {
  private static let digest = "sha256:" + String(repeating: "0123456789abcdef", count: 4)

  @Test(arguments: [
    ("ubuntu", "docker.io/library/ubuntu:latest"),
    ("acme/x", "docker.io/acme/x:latest"),
    ("docker.io/alpine:3", "docker.io/library/alpine:3"),
    ("index.docker.io/acme/x:1", "docker.io/acme/x:1"),
    ("registry-1.docker.io/library/x", "docker.io/library/x:latest"),
    ("localhost/x", "localhost/x:latest"),
    ("localhost:5000/a/b/c:T-1.0_x", "localhost:5000/a/b/c:T-1.0_x"),
    ("ghcr.io/acme/gemma3:q4", "ghcr.io/acme/gemma3:q4"),
    ("docker://ghcr.io/acme/gemma3:q4", "ghcr.io/acme/gemma3:q4"),
    ("oci://ghcr.io/acme/gemma3", "ghcr.io/acme/gemma3:latest"),
    ("rlcr://ghcr.io/acme/gemma3:q4", "ghcr.io/acme/gemma3:q4"),
    ("[::1]:5000/a/b:c", "[::1]:5000/a/b:c"),
    ("a.b/c@" + digest, "a.b/c@" + digest),
    ("a.b/c:t@" + digest, "a.b/c:t@" + digest),
  ])
  func normalises(_ text: String, _ expected: String) throws {
    #expect("\(try Reference(parsing: text))" == expected)
  }

  @Test func aDigestAloneIsNoReference() {
    for text in [Self.digest, "docker://" + Self.digest, String(Self.digest.dropFirst(7))] {
      #expect(throws: DocumentError.self, "\(text)") { try Reference(parsing: text) }
    }
    // Shorter texts may be names.
    #expect(throws: Never.self) { try Reference(parsing: String(repeating: "a", count: 63)) }
  }

  @Test func aDigestDecidesWhereBothAreGiven() throws {
    let reference = try Reference(parsing: "a.b/c:t@\(Self.digest)")
    #expect(reference.tag == "t")
    #expect(reference.target == .digest(try #require(Digest(Self.digest))))
  }

  @Test(arguments: [
    "", "/", "a//b", "../x", "/etc/passwd", "A/B", "ghcr.io/Acme/x", "ghcr.io/acme/x:", "ghcr.io/acme/x:a b",
    "ghcr.io/acme/x@sha256:abc", "ghcr.io/acme/x:" + String(repeating: "a", count: 129), "a\0b",
    String(repeating: "a", count: 5000), "ghcr.io:99999/a/b", "ghcr.io:/a", "-a.io/b", "a.io/-b",
    "a.io/b___c",
    "a.io/" + String(repeating: "a", count: 300), "docker://", "http://a.io/b",
  ])
  func refusesWhatIsNoReference(_ text: String) {
    #expect(throws: DocumentError.self) { try Reference(parsing: text) }
  }
}

struct GrammarTests {
  @Test(arguments: ["a", "a0", "a.b", "a_b", "a__b", "a-b", "a---b", "0", "model-7b"])
  func components(_ text: String) { #expect(Grammar.isRepositoryComponent(text)) }

  @Test(arguments: ["", ".", "..", "a..b", "a___b", "a._b", "-a", "a-", "_a", "A", "a/b", "a:b", "ä", ".git"])
  func noComponents(_ text: String) { #expect(!Grammar.isRepositoryComponent(text)) }

  @Test(arguments: ["a", "A", "_", "_a.b-c", "1.0", String(repeating: "a", count: 128)])
  func tags(_ text: String) { #expect(Grammar.isTag(text)) }

  @Test(arguments: ["", ".a", "-a", "a b", "a:b", "a/b", "ä", String(repeating: "a", count: 129)])
  func noTags(_ text: String) { #expect(!Grammar.isTag(text)) }

  @Test(arguments: ["localhost", "ghcr.io", "a.b.c:5000", "127.0.0.1:1", "[::1]", "[::1]:5000", "A.io"])
  func registries(_ text: String) { #expect(Grammar.isRegistry(text)) }

  @Test(arguments: [
    "", ".", "a..b", "-a", "a-", "a:", "a:b", "a:0", "a:65536", "a:123456", "[", "[]", "[x]:1", "a/b", "a b",
  ])
  func noRegistries(_ text: String) { #expect(!Grammar.isRegistry(text)) }
}
