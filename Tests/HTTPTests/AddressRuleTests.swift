import HTTP
import Testing

/// Where a registry may send its clients, by the network that it answered from itself.
struct AddressRuleTests {
  private static let addresses: [(AddressClass, String)] = [
    (.global, "203.0.113.7"), (.privateNetwork, "10.1.2.3"), (.loopback, "127.0.0.1"),
    (.linkLocal, "169.254.169.254"), (.unspecified, "0.0.0.0"),
  ]
  private static let closed: Set<AddressClass> = [.loopback, .linkLocal, .unspecified]
  // Nil for a registry behind a proxy.
  private static let networks: [AddressClass?] = [nil] + AddressClass.allCases.map(Optional.some)

  private func next(
    after address: String,
    to location: String,
    peer: AddressClass?,
    _ configure: (inout HTTPRequest) -> Void = { _ in }
  ) throws -> HTTPRequest {
    var request = HTTPRequest(.get, try #require(RequestURL(address)), authorization: Secret("Bearer x"))
    configure(&request)
    return try RedirectPolicy.next(after: request, status: 307, location: location, count: 0, peer: peer)
  }

  private func code(_ body: () throws -> HTTPRequest) -> HTTPError.Code? {
    do {
      _ = try body()
      return nil
    } catch {
      return (error as? HTTPError)?.code
    }
  }

  @Test(arguments: networks)
  func aClassIsRefusedUnlessTheRegistryIsOfItsOwn(_ registry: AddressClass?) {
    let plain = AddressRule(registry: registry, isForCredentials: false).refused
    let secret = AddressRule(registry: registry, isForCredentials: true).refused
    for found in AddressClass.allCases {
      let isOwn = found == registry
      #expect(plain.contains(found) == (Self.closed.contains(found) && !isOwn), "\(found)")
      let isClosed = Self.closed.contains(found) || found == .privateNetwork
      #expect(secret.contains(found) == (isClosed && !isOwn), "\(found), with credentials")
    }
  }

  @Test(arguments: networks)
  func aRedirectToAnAddressIsHeldAgainstTheRule(_ registry: AddressClass?) throws {
    for (found, address) in Self.addresses {
      let target = "https://\(address)/b"
      let refusal = code { try next(after: "https://registry.io/v2/x", to: target, peer: registry) }
      let expected: HTTPError.Code? =
        Self.closed.contains(found) && found != registry ? .refusedAddress : nil
      #expect(refusal == expected, "\(target)")
      guard refusal == nil else { continue }
      let followed = try next(after: "https://registry.io/v2/x", to: target, peer: registry)
      #expect(followed.authorization == nil, "\(address) gets no credentials")
      #expect(followed.addressRule == AddressRule(registry: registry, isForCredentials: false))
    }
  }

  @Test func theRuleOfTheFirstRedirectHoldsForAllThatFollow() throws {
    let first = try next(after: "https://registry.io/v2/x", to: "https://cdn.io/b", peer: .global)
    // The class of the host that redirects next does not loosen it.
    let refusal = code {
      try RedirectPolicy.next(
        after: first,
        status: 302,
        location: "https://127.0.0.1/x",
        count: 1,
        peer: .loopback
      )
    }
    #expect(refusal == .refusedAddress)
  }

  @Test(arguments: [
    "http://registry.io/v2/x", "http://cdn.io/b", "http://10.1.2.3/b", "http://127.0.0.1:80/b",
    "ftp://cdn.io/b", "file:///etc/passwd", "https://user:password@cdn.io/b", "",
  ])
  func plainTextAfterTLSAndWhatIsNoAddressAreRefusedForEachHost(_ location: String) {
    for peer in Self.networks {
      let refusal = code { try next(after: "https://registry.io/v2/x", to: location, peer: peer) }
      #expect(refusal == .redirect, "\(location)")
    }
  }

  @Test(arguments: [
    ("https://registry.io/other", true), ("https://REGISTRY.io:443/other", true),
    ("https://registry.io:444/x", false), ("https://cdn.registry.io/x", false),
    ("https://10.1.2.3/x", false),
  ])
  func authorizationIsKeptByTheSameOriginAlone(_ location: String, _ isKept: Bool) throws {
    let followed = try next(after: "https://registry.io/v2/x", to: location, peer: .global)
    #expect((followed.authorization != nil) == isKept)
    let dropped = try next(after: "https://registry.io/v2/x", to: location, peer: .global) {
      $0.dropsAuthorization = true
    }
    #expect(dropped.authorization == nil)
  }

  @Test func aPostLeavesItsHostOnlyAsAGet() throws {
    let body = Array("refresh_token=secret".utf8)
    for status in [301, 302, 307, 308] {
      var request = HTTPRequest(.post, try #require(RequestURL("https://auth.io/token")), body: body)
      request.authorization = Secret("Bearer x")
      let refusal = code {
        try RedirectPolicy.next(after: request, status: status, location: "https://b.io/", count: 0)
      }
      #expect(refusal == .redirect, "\(status)")
    }
    let request = HTTPRequest(.post, try #require(RequestURL("https://auth.io/token")), body: body)
    let next = try RedirectPolicy.next(after: request, status: 303, location: "https://b.io/", count: 0)
    #expect(next.method == .get && next.body.isEmpty)
  }
}
