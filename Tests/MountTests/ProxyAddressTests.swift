import Foundation
import TestSupport
import Testing

/// Requests through a proxy: the address of the connection is the proxy's, so that literal addresses and `localhost`
/// are refused by their spelling, and other names are the proxy's to judge.
@Suite(.serialized) struct ProxyAddressTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  // The host that the certificate of the front names; it has no address.
  private static let host = "elsewhere.example"
  private static let literals = [
    ("https://169.254.169.254/latest", "a link-local address"),
    ("https://[fe80::1]/x", "a link-local address"),
    ("https://0.0.0.0:PORT/x", "an unspecified address"), ("https://127.0.0.1:PORT/x", "a loopback address"),
    ("https://[::ffff:127.0.0.1]:PORT/x", "a loopback address"),
    ("https://localhost:PORT/x", "a loopback address"),
  ]

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["a.bin": [1, 2, 3]], repository: "acme/x", tag: "t")
    // "user:hunter2"
    try folder.write(
      Array(#"{"auths":{"\#(Self.host)":{"auth":"dXNlcjpodW50ZXIy"}}}"#.utf8),
      to: "auth.json"
    )
  }

  /// Runs a command that reaches the registry only through a proxy.
  ///
  /// - Returns: The result, and the `host:port` of the tunnels that were asked for, without repetitions.
  private func run(_ words: String) async throws -> (result: Command.Result, tunnels: Set<String>) {
    let front = try await TLSFront(to: registry.server.port, .ofAnotherHost)
    let proxy = try await PlainTextRecorder(to: front.port)
    let result = try await WeightfsCommand.run(
      words,
      in: folder,
      environment: [
        "https_proxy": "http://127.0.0.1:\(proxy.port)", "HTTPS_PROXY": "", "no_proxy": "", "NO_PROXY": "",
        "SSL_CERT_FILE": front.trusted, "CURL_CA_BUNDLE": "",
      ]
    )
    let tunnels = try proxy.tunnels()
    withExtendedLifetime((front, proxy)) {}
    return (result, Set(tunnels))
  }

  @Test func aRegistryIsUsedThroughAProxy() async throws {
    let (result, tunnels) = try await run("cat \(Self.host)/acme/x:t a.bin")
    #expect(result.output == "\u{1}\u{2}\u{3}", "\(result.error)")
    #expect(tunnels == ["\(Self.host):443"])
  }

  @Test(arguments: literals)
  func aRedirectToALiteralAddressIsRefused(_ target: String, _ reason: String) async throws {
    let inside = try HTTPServer { _ in .init(200) }
    defer { inside.stop() }
    let location = target.replacing("PORT", with: "\(inside.port)")
    for (kind, words) in [
      ("/manifests/", "exists \(Self.host)/acme/x:t"), ("/blobs/", "cat \(Self.host)/acme/x:t a.bin"),
    ] {
      registry.setFault { request, _ in
        request.path.contains(kind) ? .init(307, headers: [("Location", location)]) : nil
      }
      let (result, tunnels) = try await run(words)
      #expect(result.status == 5 && result.error.contains(reason), "\(words): \(result.error)")
      #expect(tunnels == ["\(Self.host):443"], "\(words)")
    }
    #expect(inside.connectionCount == 0)
  }

  @Test(arguments: ["10.1.2.3:443", "storage.example:443"])
  func aRedirectToAPrivateAddressOrToANameGoesToTheProxy(_ target: String) async throws {
    registry.setFault { _, _ in .init(307, headers: [("Location", "https://\(target)/x")]) }
    let (result, tunnels) = try await run("exists \(Self.host)/acme/x:t")
    // The tunnel leads to the registry, whose certificate does not name this host.
    #expect(result.status == 5 && result.error.contains("for another host"), "\(result.error)")
    #expect(tunnels == ["\(Self.host):443", target])
  }

  @Test(arguments: literals)
  func aRealmWithALiteralAddressGetsNoRequest(_ realm: String, _ reason: String) async throws {
    let inside = try HTTPServer { _ in .init(200) }
    defer { inside.stop() }
    let challenge = "Bearer realm=\"\(realm.replacing("PORT", with: "\(inside.port)"))\""
    registry.setFault { _, _ in .init(401, headers: [("WWW-Authenticate", challenge)]) }
    for options in ["", "--authfile auth.json"] {
      let (result, tunnels) = try await run("exists \(options) \(Self.host)/acme/x:t")
      #expect(result.status == 5 && result.error.contains(reason), "\(options): \(result.error)")
      #expect(!result.error.contains("hunter2"))
      #expect(tunnels == ["\(Self.host):443"], "\(options)")
    }
    #expect(inside.connectionCount == 0)
    #expect(registry.server.requests.allSatisfy { $0.headers["authorization"] == nil })
  }

  @Test(arguments: [("10.1.2.3", false), ("auth.example", true)])
  func aRealmWithAPrivateAddressGetsNoCredentials(_ realm: String, _ getsCredentials: Bool) async throws {
    registry.setFault { _, _ in
      .init(401, headers: [("WWW-Authenticate", "Bearer realm=\"https://\(realm)/token\"")])
    }
    let (result, tunnels) = try await run("exists --authfile auth.json \(Self.host)/acme/x:t")
    #expect(result.status == 5 && result.error.contains("for another host"), "\(result.error)")
    #expect(result.error.contains("gets no credentials") != getsCredentials, "\(result.error)")
    #expect(tunnels == ["\(Self.host):443", "\(realm):443"])
  }
}
