import HTTP
import Telemetry
import TestSupport
import Testing

struct AddressClassTests {
  @Test(
    arguments: [
      ("127.0.0.1", .loopback), ("127.9.9.9", .loopback), ("localhost", .loopback), ("LOCALHOST", .loopback),
      ("::1", .loopback), ("::ffff:127.0.0.2", .loopback), ("::ffff:7f00:1", .loopback),
      ("0:0:0:0:0:0:0:1", .loopback),
      ("0.0.0.0", .unspecified), ("0.1.2.3", .unspecified), ("::", .unspecified),
      ("::ffff:0.0.0.0", .unspecified),
      ("169.254.169.254", .linkLocal), ("fe80::1%eth0", .linkLocal), ("febf::1", .linkLocal),
      ("::ffff:169.254.169.254", .linkLocal), ("::169.254.169.254", .linkLocal),
      ("10.0.0.1", .privateNetwork), ("172.16.0.1", .privateNetwork), ("172.31.255.255", .privateNetwork),
      ("192.168.1.1", .privateNetwork), ("fd00::1", .privateNetwork), ("fc00::1", .privateNetwork),
      ("::ffff:10.1.2.3", .privateNetwork),
      ("172.32.0.1", .global), ("172.15.0.1", .global), ("8.8.8.8", .global), ("2001:db8::1", .global),
      ("192.167.1.1", .global), ("169.253.0.1", .global), ("fec0::1", .global),
      ("example.com", nil), ("127.1", nil), ("1.2.3.256", nil), ("1.2.3", nil), (":::", nil),
      ("1::2::3", nil),
      ("12345::", nil), ("", nil),
    ] as [(String, AddressClass?)]
  )
  func classifiesAddresses(_ text: String, _ expected: AddressClass?) {
    #expect(AddressClass(text) == expected)
  }

  @Test func aRegistryElsewhereMayNotLeadIntoThisMachine() {
    let rule = AddressRule(registry: .global, isForCredentials: false)
    #expect(rule.refused == [.loopback, .linkLocal, .unspecified])
    #expect(AddressRule(registry: .global, isForCredentials: true).refused.contains(.privateNetwork))
    #expect(!AddressRule(registry: .privateNetwork, isForCredentials: true).refused.contains(.privateNetwork))
    #expect(!AddressRule(registry: .loopback, isForCredentials: true).refused.contains(.loopback))
    #expect(AddressRule(registry: nil, isForCredentials: false).refused.contains(.loopback))
  }

  private func next(_ to: String, peer: AddressClass?, trusted: Set<String> = []) throws -> HTTPRequest {
    var request = HTTPRequest(.get, try #require(RequestURL("https://registry.io/v2/x")))
    request.trustedHosts = trusted
    return try RedirectPolicy.next(after: request, status: 307, location: to, count: 0, peer: peer)
  }

  @Test(arguments: [
    "https://127.0.0.1/x", "https://[::1]/x", "https://169.254.169.254/latest",
    "https://[::ffff:169.254.169.254]/",
    "https://0.0.0.0/", "https://localhost:8443/", "https://[fe80::1]/",
  ])
  func redirectsIntoThisMachineAreRefused(_ target: String) throws {
    let error = #expect(throws: HTTPError.self) { try next(target, peer: .global) }
    #expect(error?.code == .refusedAddress)
    let host = try #require(RequestURL(target)).host
    #expect(try next(target, peer: .global, trusted: [host]).url.host == host, "the configuration names it")
  }

  @Test func plainHTTPIsFollowedOnlyToAHostThatTheConfigurationNames() throws {
    let error = #expect(throws: HTTPError.self) { try next("http://cdn.io/x", peer: .global) }
    #expect(error?.code == .redirect)
    #expect(try next("http://cdn.io/x", peer: .global, trusted: ["cdn.io"]).url.scheme == "http")
    let other = #expect(throws: HTTPError.self) {
      try next("http://cdn.io/x", peer: .global, trusted: ["io"])
    }
    #expect(other?.code == .redirect)
  }

  @Test func redirectsWithinANetworkAreFollowed() throws {
    #expect(try next("https://127.0.0.1/x", peer: .loopback).url.host == "127.0.0.1")
    #expect(try next("https://10.0.0.1/x", peer: .global).url.host == "10.0.0.1")
    #expect(try next("https://cdn.io/x", peer: .global).addressRule?.refused.contains(.loopback) ?? false)
  }

  @Test func theAddressOfTheConnectionCounts() async throws {
    let server = try HTTPServer { _ in .init(200, body: [1]) }
    defer { server.stop() }
    let thread = TransferThread(metrics: Metrics(), environment: [:])
    // A spelling that no rule covers: libcurl interprets it as 127.0.0.1.
    var request = HTTPRequest(.get, try #require(RequestURL("http://127.1:\(server.port)/x")))
    let (response, _) = try await thread.send(request, limit: 10)
    #expect(response.peer == .loopback)
    request.addressRule = AddressRule(registry: .global, isForCredentials: false)
    do throws(HTTPError) {
      // A reused connection is checked too.
      _ = try await thread.send(request, limit: 10)
      Issue.record("a request was sent to a refused address")
    } catch {
      #expect(error.code == .refusedAddress, "\(error)")
    }
    #expect(server.requests.count == 1)
    #expect(server.connectionCount == 1)
  }
}
