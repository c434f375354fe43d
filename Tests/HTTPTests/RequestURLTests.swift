import HTTP
import Testing

struct RequestURLTests {
  @Test func readsSchemeHostAndPort() throws {
    let url = try #require(RequestURL("HTTPS://Ghcr.IO:444/v2/?a=b"))
    #expect(url.scheme == "https")
    #expect(url.host == "ghcr.io")
    #expect(url.port == 444)
    #expect(RequestURL("http://[::1]:5/x")?.host == "::1")
    #expect(RequestURL("http://a.b")?.port == 80)
  }

  @Test(arguments: [
    "", "ftp://a/b", "file:///etc/passwd", "http://", "http://u:p@a/b", "http://a b/", "http://a\r\nX: y/",
    "//a/b",
    "http://a:0/", "http://a:99999/", "http://a\\b/",
  ])
  func refusesOthers(_ text: String) { #expect(RequestURL(text) == nil) }

  @Test func hidesTheQueryWhereItIsShown() throws {
    let url = try #require(RequestURL("https://cdn.example/blob?X-Signature=secret"))
    #expect(!"\(url)".contains("secret"))
    #expect(url.text.contains("secret"))
  }

  @Test func secretsDoNotShow() {
    let secret = Secret("hunter2")
    var dumped = ""
    dump(secret, to: &dumped)
    #expect(!"\(secret)".contains("hunter2"))
    #expect(!String(reflecting: secret).contains("hunter2"))
    #expect(!dumped.contains("hunter2"))
  }

  @Test(arguments: [
    ("localhost", true), ("127.0.0.1", true), ("127.9.9.9", true), ("::1", true),
    ("127.0.0.1.evil.com", false),
    ("128.0.0.1", false), ("localhost.evil.com", false), ("127.1", false),
  ])
  func knowsLoopback(_ host: String, _ expected: Bool) {
    #expect(RequestURL.isLoopback(host: host) == expected)
  }
}

struct RedirectPolicyTests {
  private func next(
    _ from: String,
    _ to: String,
    count: Int = 0,
    method: HTTPRequest.Method = .get,
    status: Int = 307
  )
    throws -> HTTPRequest
  {
    let request = HTTPRequest(
      method,
      try #require(RequestURL(from)),
      authorization: Secret("Bearer x"),
      range: 5..<9,
      body: [1]
    )
    return try RedirectPolicy.next(after: request, status: status, location: to, count: count)
  }

  @Test func authorizationStaysWithItsOrigin() throws {
    #expect(try next("https://a.io/v2/x", "https://a.io/other").authorization != nil)
    #expect(try next("https://a.io/v2/x", "https://b.io/other").authorization == nil)
    #expect(try next("https://a.io/v2/x", "https://a.io:444/other").authorization == nil)
    #expect(try next("http://a.io/v2/x", "https://a.io/other").authorization == nil)
  }

  @Test func theRangeIsSentAgain() throws {
    #expect(try next("https://a.io/x", "https://b.io/y").range == 5..<9)
  }

  @Test func refusesPlainTextAfterTLSAndOtherSchemes() {
    #expect(throws: HTTPError.self) { try next("https://a.io/x", "http://a.io/x") }
    #expect(throws: HTTPError.self) { try next("https://a.io/x", "file:///etc/passwd") }
    #expect(throws: HTTPError.self) { try next("https://a.io/x", "https://b.io/y", count: 10) }
  }

  @Test func postTurnsIntoGetAfter303() throws {
    let request = try next("https://a.io/x", "https://a.io/y", method: .post, status: 303)
    #expect(request.method == .get)
    #expect(request.body.isEmpty)
    #expect(try next("https://a.io/x", "https://a.io/y", method: .post, status: 307).method == .post)
  }
}

struct HTTPResponseTests {
  private func response(_ value: String) throws -> HTTPResponse {
    HTTPResponse(status: 206, headers: [("Content-Range", value)], url: try #require(RequestURL("http://a/")))
  }

  @Test func readsContentRange() throws {
    let found = try #require(try response("bytes 5-9/100").contentRange)
    #expect(found.range == 5..<10)
    #expect(found.size == 100)
    #expect(try response("bytes 0-0/*").contentRange?.size == nil)
  }

  @Test(arguments: [
    "", "bytes */100", "bytes 9-5/100", "bytes a-b/c", "bytes -5-9/100", "bytes 5-9223372036854775807/1",
    "x 1-2/3",
  ])
  func refusesOtherRanges(_ value: String) throws { #expect(try response(value).contentRange == nil) }
}
