import Content
import HTTP
import Logging
import OCI
@testable import Registry
import Telemetry
import TestSupport
import Testing

/// Registries that send their clients to hosts of other networks, over connections that are really made.
struct ForeignNetworkTests {
  private let fixture: RegistryFixture

  init() throws {
    fixture = try RegistryFixture()
    try fixture.registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
  }

  /// The registry behind TLS, as one elsewhere speaks.
  private func repository(_ front: TLSFront, auth: String? = nil) throws -> RegistryRepository {
    var configuration = RegistryConfiguration()
    configuration.retry.firstDelay = .milliseconds(5)
    configuration.retry.retryFor = .seconds(2)
    let client = RegistryClient(
      thread: TransferThread(metrics: Metrics(), environment: ["SSL_CERT_FILE": front.trusted]),
      credentials: CredentialFiles(explicit: auth ?? "/none", environment: [:], log: fixture.log),
      configuration: configuration,
      log: fixture.log
    )
    return client.repository(try #require(RepositoryName(registry: front.host, path: "acme/x")))
  }

  private func authFile(of host: String) throws -> String {
    // "user:hunter2"
    try fixture.folder.write(
      Array(#"{"auths":{"\#(host)":{"auth":"dXNlcjpodW50ZXIy"}}}"#.utf8),
      to: "auth.json"
    )
  }

  @Test(arguments: [
    ("https://169.254.169.254/latest/meta-data", "a link-local address"),
    ("https://[fe80::1]/x", "a link-local address"), ("https://0.0.0.0/x", "an unspecified address"),
    ("http://169.254.169.254/latest", "from https to plain http"),
    ("http://127.0.0.1:PORT/x", "from https to plain http"),
  ])
  func aRedirectThatIsRefusedIsToldOfAndNotTriedAgain(_ target: String, _ reason: String) async throws {
    let registry = fixture.registry
    let inside = try HTTPServer { _ in .init(200) }
    defer { inside.stop() }
    let location = target.replacing("PORT", with: "\(inside.port)")
    registry.setFault { _, _ in .init(307, headers: [("Location", location)]) }
    let front = try await TLSFront(to: registry.server.port)
    let repository = try repository(front)
    let lookUp = await fixture.failure { _ = try await repository.resolve(.tag("t")) }
    let requests = registry.server.requests.count
    #expect(requests == 1, "\(requests) requests")
    let fetch = await fixture.failure { try await fixture.fetch(0..<10, repository) }
    for error in [lookUp, fetch] {
      #expect(error?.code == .unreachable)
      #expect(error?.reason.contains(reason) ?? false, "\(error?.reason ?? "")")
    }
    #expect(inside.requests.isEmpty)
    withExtendedLifetime(front) {}
  }

  @Test(arguments: [
    ("http://127.0.0.1:PORT/token", "in plain http"),
    ("https://169.254.169.254/token", "a link-local address"),
    ("https://0.0.0.0/token", "an unspecified address"),
  ])
  func aRealmThatIsRefusedGetsNoRequestAtAll(_ realm: String, _ reason: String) async throws {
    let tokens = try HTTPServer { _ in .init(200, body: Array(#"{"token":"good"}"#.utf8)) }
    defer { tokens.stop() }
    let challenge = "Bearer realm=\"\(realm.replacing("PORT", with: "\(tokens.port)"))\""
    fixture.registry.setFault { _, _ in .init(401, headers: [("WWW-Authenticate", challenge)]) }
    let front = try await TLSFront(to: fixture.registry.server.port)
    let file = try authFile(of: front.host)
    for auth in [nil, file] {
      let repository = try repository(front, auth: auth)
      let error = await fixture.failure { _ = try await repository.resolve(.tag("t")) }
      #expect(error?.code == .unreachable)
      #expect(error?.reason.contains(reason) ?? false, "\(error?.reason ?? "")")
      #expect(!"\(error.map { "\($0)" } ?? "")\(fixture.messages.all)".contains("hunter2"))
    }
    #expect(tokens.requests.isEmpty)
    #expect(fixture.registry.server.requests.allSatisfy { $0.headers["authorization"] == nil })
    withExtendedLifetime(front) {}
  }

  // MARK: A private network

  private static func privateAddress() async throws -> String? {
    let found = try await Command.run(["hostname", "-I"]).output.split { $0 == " " || $0 == "\n" }
    return found.map(String.init).first { AddressClass($0) == .privateNetwork }
  }

  private static func hasPrivateAddress() async throws -> Bool { try await privateAddress() != nil }

  /// A server in a private network, and its address.
  private func inside(
    _ answer: @escaping @Sendable (HTTPServer.Request) -> HTTPServer.Answer
  ) async throws -> (server: HTTPServer, base: String) {
    let address = try #require(try await Self.privateAddress())
    let server = try HTTPServer(at: address, answer)
    return (server, "http://\(address.contains(":") ? "[\(address)]" : address):\(server.port)")
  }

  @Test(
    .enabled("this machine has an address in a private network") { try await hasPrivateAddress() },
    arguments: [401, 403, 404, 200]
  )
  func aPrivateHostGetsNoCredentialsAndItsBodyIsNotQuoted(_ status: Int) async throws {
    let registry = fixture.registry
    let page = HTTPServer.Answer(
      status,
      headers: [("Content-Type", "text/html")],
      body: Array("<html>the intranet's secret</html>".utf8)
    )
    let (server, base) = try await inside { _ in page }
    defer { server.stop() }
    registry.setFault { request, _ in
      request.headers["authorization"] == nil
        ? .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
        : .init(307, headers: [("Location", "\(base)/x")])
    }
    let repository = try fixture.repository(auth: try authFile(of: registry.host))
    var errors = [await fixture.failure { _ = try await repository.resolve(.tag("t")) }]
    errors.append(await fixture.failure { try await fixture.fetch(0..<10, repository) })
    errors.append(await fixture.failure { _ = try await repository.tags(limit: 10) })
    for error in errors {
      let text = try #require(error.map { "\($0)" })
      #expect(!text.contains("intranet"), "\(text)")
    }
    #expect(fixture.messages.all.allSatisfy { !$0.contains("intranet") }, "\(fixture.messages.all)")
    #expect(server.requests.count >= 3)
    #expect(server.requests.allSatisfy { $0.headers["authorization"] == nil })
  }

  @Test(.enabled("this machine has an address in a private network") { try await hasPrivateAddress() })
  func aTokenServerInAPrivateNetworkIsAskedWithoutCredentials() async throws {
    let registry = fixture.registry
    let (server, base) = try await inside { _ in .init(200, body: Array(#"{"token":"good"}"#.utf8)) }
    defer { server.stop() }
    registry.setFault { request, _ in
      if request.headers["authorization"] == "Bearer good" { return nil }
      return .init(401, headers: [("WWW-Authenticate", "Bearer realm=\"\(base)/token\"")])
    }
    let repository = try fixture.repository(auth: try authFile(of: registry.host))
    _ = try await repository.resolve(.tag("t"))
    #expect(server.requests.count == 1)
    #expect(server.requests.allSatisfy { $0.headers["authorization"] == nil && !$0.query.contains("user") })
    let told = fixture.messages.all.filter { $0.contains("a token server in another network") }
    #expect(told.count == 1, "\(fixture.messages.all)")
  }

  @Test func aDocumentOfAPrivateHostIsQuotedOnlyWhereThatIsTheRegistryItself() throws {
    let client = try fixture.repository().client
    let body = Array("the intranet's secret".utf8)
    func reason(_ address: String, _ peer: AddressClass?, of registry: String) throws -> String {
      let url = try #require(RequestURL(address))
      let response = HTTPResponse(status: 200, headers: [], url: url, peer: peer)
      return client.unreadable(response, body, "x", of: registry, DocumentError(reason: "no JSON")).reason
    }
    #expect(try !reason("https://wiki.corp/x", .privateNetwork, of: "ghcr.io").contains("intranet"))
    #expect(try !reason("https://10.1.2.3/x", .privateNetwork, of: "ghcr.io").contains("intranet"))
    #expect(try reason("https://registry.corp/x", .privateNetwork, of: "registry.corp").contains("intranet"))
    #expect(try reason("https://cdn.io/x", .global, of: "ghcr.io").contains("intranet"))
    #expect(try reason("https://cdn.io/x", nil, of: "ghcr.io").contains("intranet"))
  }
}
