import Content
import HTTP
import OCI
import Registry
import TestSupport
import Testing

/// A text body that an error quotes is cut to its first 200 characters, however many bytes these have.
struct QuotedTextTests {
  private let fixture: RegistryFixture
  private static let text = String(repeating: "αβγδεζηθικ", count: 50)
  private static let start = String(repeating: "αβγδεζηθικ", count: 20)

  init() throws { fixture = try RegistryFixture() }

  private static func answer(_ status: Int) -> HTTPServer.Answer {
    .init(status, headers: [("Content-Type", "text/plain; charset=utf-8")], body: Array(text.utf8))
  }

  /// Expects that an error quotes the start of the text, and no more of it.
  private func expectCut(_ error: ContentError?, _ quote: String) throws {
    let reason = try #require(error).reason
    #expect(reason.contains("\(quote)\(Self.start)\(quote)"), "\(reason)")
  }

  @Test func theBodyOfAStorageHost() async throws {
    let storage = try HTTPServer { _ in Self.answer(403) }
    defer { storage.stop() }
    fixture.registry.setFault { _, _ in
      .init(307, headers: [("Location", "http://127.0.0.1:\(storage.port)/x")])
    }
    let repository = try fixture.repository()
    try expectCut(await fixture.failure { _ = try await repository.resolve(.tag("t")) }, "\"")
    try expectCut(await fixture.failure { try await fixture.fetch(0..<10, repository) }, "\"")
    try expectCut(await fixture.failure { _ = try await repository.tags(limit: 10) }, "\"")
  }

  @Test func aBodyInPlaceOfABlob() async throws {
    fixture.registry.setFault { request, _ in
      guard request.path.contains("/blobs/") else { return nil }
      var answer = Self.answer(200)
      answer.headers.append(("Content-Encoding", "br"))
      return answer
    }
    let repository = try fixture.repository()
    try expectCut(await fixture.failure { try await fixture.fetch(0..<10, repository) }, "\"")
  }

  @Test func aDocumentThatIsNoJSON() async throws {
    fixture.registry.setFault { _, _ in Self.answer(200) }
    let repository = try fixture.repository()
    try expectCut(await fixture.failure { _ = try await repository.tags(limit: 10) }, "'")
  }

  @Test func anAnswerWithoutAToken() async throws {
    let tokens = try HTTPServer { _ in Self.answer(200) }
    defer { tokens.stop() }
    let challenge = "Bearer realm=\"http://127.0.0.1:\(tokens.port)/token\""
    fixture.registry.setFault { _, _ in .init(401, headers: [("WWW-Authenticate", challenge)]) }
    let repository = try fixture.repository()
    try expectCut(await fixture.failure { _ = try await repository.resolve(.tag("t")) }, "\"")
  }
}
