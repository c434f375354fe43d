import Content
import HTTP
import OCI
@testable import Registry
import TestSupport
import Testing

/// Credentials that are refused, expired or of another kind.
struct AuthorizationTests {
  private let fixture: RegistryFixture

  init() throws {
    fixture = try RegistryFixture()
    try fixture.registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
  }

  /// A token server; a rule may refuse.
  private func tokens(
    _ answer: String = #"{"token":"good"}"#,
    _ rule: @escaping @Sendable (HTTPServer.Request) -> HTTPServer.Answer? = { _ in nil }
  ) throws -> HTTPServer {
    try HTTPServer { request in rule(request) ?? .init(200, body: Array(answer.utf8)) }
  }

  private func challenge(_ port: Int, scope: String? = nil) {
    let registry = fixture.registry
    let extra = scope.map { ",scope=\"\($0)\"" } ?? ""
    registry.setFault { request, _ in
      if request.headers["authorization"] == "Bearer good" { return nil }
      let value = "Bearer realm=\"http://127.0.0.1:\(port)/token\",service=\"s\"\(extra)"
      return .init(401, headers: [("WWW-Authenticate", value)])
    }
  }

  @Test func aCredentialThatTheTokenServerRefusesDoesNotEndPublicPulls() async throws {
    let server = try tokens { request in
      request.headers["authorization"] == nil ? nil : .init(401, body: Array("expired".utf8))
    }
    defer { server.stop() }
    challenge(server.port)
    let file = try fixture.authFile()
    let repository = try fixture.repository(auth: file)
    _ = try await repository.resolve(.tag("t"))
    let other = try #require(RepositoryName(registry: fixture.registry.host, path: "acme/y"))
    _ = await repository.client.repository(other).tagsOrNone()
    let warnings = fixture.messages.all.filter { $0.contains("a credential was refused") }
    #expect(warnings.count == 1, "\(warnings)")
    #expect(warnings.first?.contains(file) ?? false, "the file is named")
    #expect(warnings.allSatisfy { !$0.contains("dTpw") })
  }

  /// A personal access token without the right to read: the token server takes it, the registry answers 403.
  @Test func aTokenThatTheRegistryForbidsDoesNotEndPublicPulls() async throws {
    let server = try HTTPServer { request in
      let token = request.headers["authorization"] == nil ? "anonymous" : "owner"
      return .init(200, body: Array(#"{"token":"\#(token)"}"#.utf8))
    }
    defer { server.stop() }
    let isPrivate = LockedSet()
    fixture.registry.setFault { request, _ in
      switch request.headers["authorization"] {
      case "Bearer anonymous" where isPrivate.count == 0: return nil
      case "Bearer owner": return .init(403, body: Array("DENIED".utf8))
      default:
        let value = "Bearer realm=\"http://127.0.0.1:\(server.port)/token\",service=\"s\""
        return .init(401, headers: [("WWW-Authenticate", value)])
      }
    }
    let repository = try fixture.repository(auth: try fixture.authFile())
    _ = try await repository.resolve(.tag("t"))
    #expect(fixture.messages.all.filter { $0.contains("a credential was refused") }.count == 1)
    isPrivate.insert("now")
    let error = try #require(await fixture.failure { _ = try await repository.resolve(.tag("t")) })
    #expect(error.code == .unauthorized)
    #expect(error.reason.contains("403"), "the refusal of the credential is the one that is told: \(error)")
    #expect(fixture.registry.server.requests.count <= 7)
  }

  @Test func aBasicPasswordThatIsRefusedDoesNotEndPublicPulls() async throws {
    let registry = fixture.registry
    let asked = LockedSet()
    registry.setFault { request, _ in
      let challenge = HTTPServer.Answer(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
      if request.headers["authorization"] != nil {
        asked.insert("password")
        return challenge
      }
      // The first request is challenged; once the password was refused, anonymous requests are answered.
      return asked.count == 0 ? challenge : nil
    }
    let file = try fixture.authFile()
    let repository = try fixture.repository(auth: file)
    _ = try await repository.resolve(.tag("t"))
    #expect(
      registry.server.requests.first?.headers["authorization"] == nil,
      "nothing is sent before it is requested"
    )
    #expect(asked.count == 1, "the password was tried")
    let warnings = fixture.messages.all.filter { $0.contains("a credential was refused") }
    #expect(warnings.count == 1 && warnings[0].contains(file), "\(warnings)")
  }

  @Test(arguments: ["\"nan\"", "\"inf\"", "-1", "1e400", "\"-nan\"", "1e308", "null", "[]"])
  func aLifetimeThatIsNoneIsTheDefault(_ lifetime: String) async throws {
    let server = try HTTPServer { _ in
      .init(200, body: Array(#"{"token":"good","expires_in":\#(lifetime)}"#.utf8))
    }
    defer { server.stop() }
    challenge(server.port)
    // The test passes if the process has not crashed; the token is used.
    _ = try? await fixture.repository().resolve(.tag("t"))
    #expect(server.requests.count >= 1)
  }

  @Test func tokensThatAreRefusedAtOnceEndTheRequest() async throws {
    let server = try HTTPServer { _ in .init(200, body: Array(#"{"token":"bad","expires_in":0}"#.utf8)) }
    defer { server.stop() }
    challenge(server.port)
    #expect(await fixture.failure { _ = try await fixture.repository().resolve(.tag("t")) } != nil)
    #expect(server.requests.count <= 4)
  }

  @Test func aStaleHeaderIsReadAgain() async throws {
    let registry = fixture.registry
    let file = try fixture.authFile("dTpvbGQ=")
    let good = LockedSet()
    good.insert("Basic dTpvbGQ=")
    for status in [401, 403] {
      registry.setFault { request, _ in
        guard let header = request.headers["authorization"] else {
          return .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
        }
        return good.contains(header) ? nil : .init(status)
      }
      let repository = try fixture.repository(auth: file)
      _ = try await repository.resolve(.tag("t"))
      // Twelve hours later the password has changed.
      good.insert("Basic dTpuZXc=")
      let fresh = try fixture.authFile("dTpuZXc=")
      #expect(fresh == file)
      registry.setFault { request, _ in
        guard let header = request.headers["authorization"] else {
          return .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
        }
        return header == "Basic dTpuZXc=" ? nil : .init(status)
      }
      _ = try await repository.resolve(.tag("t"))
      _ = try fixture.authFile("dTpvbGQ=")
    }
  }

  @Test func aRefusalWithoutAChallengeIsRepeatedOnceWithoutAuthorization() async throws {
    let registry = fixture.registry
    let server = try tokens(#"{"token":"first"}"#)
    defer { server.stop() }
    let isPublic = LockedSet()
    registry.setFault { request, _ in
      let header = request.headers["authorization"]
      if isPublic.count > 0 { return header == nil ? nil : .init(401) }
      if header == "Bearer first" { return nil }
      return .init(401, headers: [("WWW-Authenticate", "Bearer realm=\"http://127.0.0.1:\(server.port)/t\"")])
    }
    let repository = try fixture.repository()
    _ = try await repository.resolve(.tag("t"))
    isPublic.insert("now")
    _ = try await repository.resolve(.tag("t"))
    registry.server.forgetRequests()
    registry.setFault { _, _ in .init(401) }
    #expect(await fixture.failure { _ = try await repository.resolve(.tag("t")) }?.code == .unauthorized)
    #expect(registry.server.requests.count <= 2)
  }

  @Test func theLifetimeMayBeText() async throws {
    let server = try tokens(#"{"access_token":"good","expires_in":"3600"}"#)
    defer { server.stop() }
    challenge(server.port)
    let repository = try fixture.repository()
    _ = try await repository.resolve(.tag("t"))
    _ = try await repository.resolve(.tag("t"))
    #expect(server.requests.count == 1)
  }

  @Test(arguments: [
    ("repository:{name}:pull", true), ("repository:<name>:pull", true), ("repository:user/image:pull", true),
    ("repository::pull", true), ("repository:library/x:pull", false), ("registry:catalog:*", false),
    ("repository:acme/x:pull,push", false),
  ])
  func aPlaceholderScopeIsReplaced(_ scope: String, _ isReplaced: Bool) async throws {
    #expect(TokenRequest.isPlaceholder(scope) == isReplaced)
    let server = try tokens()
    defer { server.stop() }
    challenge(server.port, scope: scope)
    _ = try await fixture.repository().resolve(.tag("t"))
    let query = try #require(server.requests.first?.query)
    #expect(
      query.contains("scope=repository%3Aacme%2Fx%3Apull&") || query.hasSuffix("repository%3Aacme%2Fx%3Apull")
        || !isReplaced
    )
  }

  @Test func identityTokensOfHelpersAreExchanged() async throws {
    let server = try tokens()
    defer { server.stop() }
    challenge(server.port)
    // "<token>:abc"
    let repository = try fixture.repository(auth: try fixture.authFile("PHRva2VuPjphYmM="))
    _ = try await repository.resolve(.tag("t"))
    let request = try #require(server.requests.first)
    #expect(request.method == "POST")
    #expect(String(decoding: request.body, as: UTF8.self).contains("refresh_token=abc"))
  }

  @Test(arguments: ["Basic realm=\"x\"", "Bearer realm=\"http://127.0.0.1:PORT/token\""])
  func aHelperIsAskedOnceForLookUpsSideBySide(_ challenge: String) async throws {
    let asked = fixture.folder.path("asked")
    // Each case runs beside the others.
    let name = "weightfs-\(fixture.registry.server.port)"
    try HelperProgram.install(
      name,
      #"cat >>'\#(asked)'; echo '{"Username":"u","Secret":"p"}'"#,
      in: fixture.folder
    )
    let server = try tokens()
    defer { server.stop() }
    let value = challenge.replacing("PORT", with: "\(server.port)")
    fixture.registry.setFault { request, _ in
      let header = request.headers["authorization"]
      if header == "Bearer good" || header == "Basic dTpw" { return nil }
      return .init(401, headers: [("WWW-Authenticate", value)])
    }
    let file = try fixture.folder.write(
      Array(#"{"credHelpers":{"\#(fixture.registry.host)":"\#(name)"}}"#.utf8),
      to: "config.json"
    )
    let repository = try fixture.repository(auth: file)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<20 { group.addTask { _ = try await repository.resolve(.tag("t")) } }
      try await group.waitForAll()
    }
    #expect(String(decoding: try fixture.folder.read("asked"), as: UTF8.self) == fixture.registry.host)
    #expect(server.requests.count <= 1)
    #expect(server.requests.allSatisfy { $0.headers["authorization"] == "Basic dTpw" })
  }

  @Test func aRegistryTokenIsSentAsItIs() async throws {
    challenge(1)
    let file = try fixture.folder.write(
      Array(#"{"auths":{"\#(fixture.registry.host)":{"registrytoken":"good"}}}"#.utf8),
      to: "auth.json"
    )
    _ = try await fixture.repository(auth: file).resolve(.tag("t"))
  }
}

extension RegistryRepository {
  /// Requests tags and accepts any answer.
  func tagsOrNone() async -> [String] { (try? await tags(limit: 1)) ?? [] }
}
