import Content
import HTTP
import OCI
@testable import Registry
import TestSupport
import Testing

/// What is sent to the token server that a challenge names, and what never is.
struct TokenRequestTests {
  private let fixture: RegistryFixture

  init() throws { fixture = try RegistryFixture() }

  private static let closed: Set<AddressClass> = [.loopback, .linkLocal, .unspecified]
  private static let closedToSecrets: Set<AddressClass> = closed.union([.privateNetwork])
  private static let password = Credential.password(username: "user", password: Secret("hunter2"))
  private static let token = Credential.identityToken(Secret("refresh"))

  private func request(
    _ realm: String,
    of registry: String = "ghcr.io",
    peer: AddressClass? = .global,
    _ credential: Credential? = nil
  ) throws -> HTTPRequest {
    let client = try fixture.repository().client
    let repository = client.repository(try #require(RepositoryName(registry: registry, path: "acme/x")))
    let challenge = try #require(Challenge.parse("Bearer realm=\"\(realm)\",service=\"s\"").first)
    return try TokenRequest(repository: repository, challenge: challenge, peer: peer).make(credential)
  }

  private func refusal(_ realm: String, of registry: String = "ghcr.io") -> HTTPError.Code? {
    do {
      _ = try request(realm, of: registry, Self.password)
      return nil
    } catch {
      return (error as? HTTPError)?.code
    }
  }

  @Test(
    arguments: [
      ("http://ghcr.io/token", .tls), ("http://auth.example/token", .tls),
      ("http://127.0.0.1:5001/token", .tls),
      ("http://169.254.169.254/latest", .tls), ("http://10.1.2.3/token", .tls),
      ("file:///etc/passwd", .broken), ("ftp://auth.example/token", .broken), ("", .broken),
      ("token", .broken),
      ("https://user:password@auth.example/", .broken), ("https://auth.example\\\\@evil.example/", .broken),
    ] as [(String, HTTPError.Code)]
  )
  func aRealmInPlainTextOrOfAnotherSchemeIsRefused(_ realm: String, _ code: HTTPError.Code) {
    #expect(refusal(realm) == code)
  }

  @Test(
    arguments: [
      // The registry's own host needs no rule.
      ("ghcr.io", "https://ghcr.io/token", .global, nil, nil),
      ("ghcr.io", "https://GHCR.io:8443/token", .global, password, nil),
      ("ghcr.io", "https://auth.example/token", .global, nil, closed),
      ("ghcr.io", "https://auth.example/token", .global, password, closedToSecrets),
      ("ghcr.io", "https://auth.example/token", .global, token, closedToSecrets),
      ("ghcr.io", "https://10.1.2.3/token", nil, password, closedToSecrets),
      ("registry.corp", "https://auth.corp/token", .privateNetwork, password, closed),
      // A registry on this machine may name a token server there, but nowhere else one that gets credentials.
      ("localhost:5000", "http://localhost:5001/token", .loopback, password, nil),
      (
        "localhost:5000", "http://127.0.0.1:5001/token", .loopback, password,
        [.linkLocal, .unspecified, .privateNetwork]
      ),
      ("localhost:5000", "http://10.1.2.3/token", .loopback, nil, nil),
    ] as [(String, String, AddressClass?, Credential?, Set<AddressClass>?)]
  )
  func whereTheConnectionMayLeadDependsOnTheRegistryAndTheCredential(
    _ registry: String,
    _ realm: String,
    _ peer: AddressClass?,
    _ credential: Credential?,
    _ refused: Set<AddressClass>?
  ) throws {
    let request = try request(realm, of: registry, peer: peer, credential)
    #expect(request.addressRule?.refused == refused)
  }

  @Test(arguments: [
    "https://127.0.0.1/token", "https://localhost/token", "https://[::1]/token", "https://0.0.0.0/token",
    "https://169.254.169.254/token", "https://[fe80::1]/token", "https://10.1.2.3/token",
    "https://[fd00::1]/token", "https://[::ffff:192.168.1.1]/token",
  ])
  func theRuleOfARegistryElsewhereRefusesEachOfTheseRealmsWithCredentials(_ realm: String) throws {
    let request = try request(realm, Self.password)
    let found = try #require(AddressClass(request.url.host))
    #expect(request.addressRule?.refused.contains(found) ?? false, "\(found)")
    let anonymous = try self.request(realm)
    #expect(anonymous.addressRule?.refused.contains(found) == (found != .privateNetwork), "\(found)")
    #expect(anonymous.authorization == nil && anonymous.body.isEmpty)
  }

  @Test func aCredentialIsSentAsItsKindWantsItAndNoOtherWay() throws {
    let realm = "https://auth.example/token?x=1"
    let basic = try request(realm, Self.password)
    #expect(basic.method == .get && basic.authorization == Secret("Basic dXNlcjpodW50ZXIy"))
    #expect(basic.url.text == "\(realm)&service=s&account=user&scope=repository%3Aacme%2Fx%3Apull")
    let refresh = try request(realm, Self.token)
    #expect(refresh.method == .post && refresh.authorization == nil && refresh.url.text == realm)
    let body = String(decoding: refresh.body, as: UTF8.self)
    #expect(body.contains("grant_type=refresh_token") && body.contains("refresh_token=refresh"), "\(body)")
    let none = try request(realm)
    #expect(none.method == .get && none.authorization == nil && !none.url.text.contains("account="))
  }
}
