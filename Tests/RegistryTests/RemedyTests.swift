import Content
import HTTP
import OCI
@testable import Registry
import TestSupport
import Testing

/// Storage endpoints, caches and registries with unusual behavior: each remedy is tried, and only once.
struct RemedyTests {
  private let fixture: RegistryFixture

  init() throws { fixture = try RegistryFixture() }

  /// The table of `TransferAttempts`.
  @Test func everyRowOfTheTableIsAsWritten() {
    let basic = Secret("Basic x")
    func step(
      _ status: Int,
      _ source: TransferAttempts.Source,
      sent: Secret? = nil,
      isDocument: Bool = false,
      isChallenge: Bool = true,
      times: Int = 1
    ) -> TransferAttempts.Step {
      var attempts = TransferAttempts()
      var last = TransferAttempts.Step.fail
      for _ in 0..<times {
        last = attempts.handle(
          status,
          from: source,
          sent: sent,
          isDocument: isDocument,
          isChallenge: isChallenge
        )
      }
      return last
    }
    for status in [408, 429, 500, 502, 503, 504] {
      for source in [TransferAttempts.Source.registry, .remembered, .redirect(isSameOrigin: false)] {
        #expect(step(status, source) == .wait, "\(status)")
      }
    }
    for status in [400, 401, 403, 404, 410, 418] {
      #expect(step(status, .remembered) == .askRegistry, "\(status)")
    }
    #expect(step(416, .remembered) == .fail)
    #expect(step(416, .redirect(isSameOrigin: true)) == .fail)
    #expect(step(501, .registry) == .fail)
    #expect(step(400, .redirect(isSameOrigin: false)) == .askRegistry)
    #expect(step(400, .redirect(isSameOrigin: false), times: 2) == .fail)
    #expect(step(403, .redirect(isSameOrigin: false)) == .withReferer)
    #expect(step(403, .redirect(isSameOrigin: false), times: 2) == .askRegistry)
    #expect(step(403, .redirect(isSameOrigin: false), times: 3) == .fail)
    #expect(step(400, .redirect(isSameOrigin: true), sent: basic) == .withoutAuthorization)
    #expect(step(403, .redirect(isSameOrigin: true), sent: basic, times: 2) == .withReferer)
    #expect(step(401, .registry) == .authorize)
    #expect(step(401, .redirect(isSameOrigin: true)) == .authorize)
    #expect(step(401, .redirect(isSameOrigin: true), sent: basic, times: 2) == .withoutAuthorization)
    #expect(
      step(401, .redirect(isSameOrigin: true), sent: basic, isChallenge: false) == .withoutAuthorization
    )
    #expect(step(403, .registry, sent: basic) == .authorize)
    #expect(step(403, .registry, sent: Secret("Bearer x")) == .authorize)
    #expect(step(403, .registry) == .fail)
    #expect(step(401, .tokenServer) == .fail)
    #expect(step(503, .tokenServer) == .wait)
    #expect(step(404, .registry) == .askManifest)
    #expect(step(404, .registry, times: 2) == .fail)
    #expect(step(404, .registry, isDocument: true) == .fail)
  }

  @Test func anExpiredAddressIsReplacedOnceWhateverItsStatus() async throws {
    let expired = LockedSet()
    let storage = try fixture.storage { request in
      expired.contains(request.query)
        ? .init(400, body: Array("<Error><Code>ExpiredToken</Code></Error>".utf8)) : nil
    }
    defer { storage.stop() }
    fixture.redirectBlobs(to: storage.port)
    let repository = try fixture.repository()
    try await fixture.fetch(0..<10, repository)
    try await fixture.fetch(10..<20, repository)
    #expect(fixture.registry.blobRequests.count == 1)
    expired.insert("sig=1")
    try await fixture.fetch(20..<30, repository)
    #expect(fixture.registry.blobRequests.count == 2)
    #expect(storage.requests.count == 4)
  }

  @Test func anEndpointThatRefusesReplaysIsAskedThroughTheRegistry() async throws {
    let used = LockedSet()
    let storage = try fixture.storage { request in
      if used.contains(request.query) { return .init(403) }
      used.insert(request.query)
      return nil
    }
    defer { storage.stop() }
    fixture.redirectBlobs(to: storage.port)
    let repository = try fixture.repository()
    for start in [0, 10, 20, 30, 40] as [Int64] { try await fixture.fetch(start..<start + 10, repository) }
    // One refusal is sufficient; after it no URL is used twice.
    #expect(storage.requests.count == 6, "\(storage.requests.map(\.query))")
  }

  @Test func aStorageHostThatWantsARefererGetsOne() async throws {
    let storage = try fixture.storage { request in request.headers["referer"] == nil ? .init(403) : nil }
    defer { storage.stop() }
    fixture.redirectBlobs(to: storage.port)
    let repository = try fixture.repository()
    try await fixture.fetch(0..<10, repository)
    let referer = try #require(storage.requests.last?.headers["referer"])
    #expect(referer.hasPrefix("http://\(fixture.registry.host)/v2/acme/x/blobs/sha256:"))
    #expect(!referer.contains("?"))
  }

  /// An endpoint whose addresses are bound to one range refuses a replay however late it is.
  @Test func anEndpointThatRefusesLateReplaysTwiceInARowIsNotReplayed() throws {
    let hosts = HostMemory()
    let name = try #require(RepositoryName(registry: "r.example", path: "a/b"))
    let digest = fixture.blob.digest(.sha256)
    let url = try #require(RequestURL("https://storage.example/b?sig=1"))
    var now = ContinuousClock.now
    func refuseLate() {
      hosts.remember(url, nil, of: digest, in: name, now: now)
      now += .seconds(60)
      hosts.forget(url, of: digest, in: name, isRefused: true, now: now)
    }
    refuseLate()
    hosts.remember(url, nil, of: digest, in: name, now: now)
    #expect(hosts.redirect(of: digest, in: name) != nil, "one refusal may be an expired address")
    hosts.noteReplay(of: url)
    refuseLate()
    hosts.remember(url, nil, of: digest, in: name, now: now)
    #expect(hosts.redirect(of: digest, in: name) != nil, "a replay was answered in between")
    now += .seconds(60)
    hosts.forget(url, of: digest, in: name, isRefused: true, now: now)
    hosts.remember(url, nil, of: digest, in: name, now: now)
    #expect(hosts.redirect(of: digest, in: name) == nil, "two in a row")
    now += .seconds(301)
    hosts.remember(url, nil, of: digest, in: name, now: now)
    #expect(hosts.redirect(of: digest, in: name) != nil, "the endpoint is tried again after 300 s")
  }

  /// HEAD and GET of a tag, the list of tags: each may be redirected as a blob is.
  @Test func documentsThatAreRedirectedGetTheSameRemedies() async throws {
    let registry = fixture.registry
    try registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    let plain = try HTTPServer { [host = registry.host] request in
      guard request.headers["referer"] != nil else { return .init(403) }
      guard request.method == "GET" else { return .init(403) }
      if request.path.hasSuffix("/tags/list") { return .init(200, body: Array(#"{"tags":["t"]}"#.utf8)) }
      return .init(302, headers: [("Location", "http://\(host)/v2/acme/x/manifests/t?direct=1")])
    }
    defer { plain.stop() }
    registry.setFault { request, _ in
      if request.query.contains("direct") { return nil }
      return .init(307, headers: [("Location", "http://127.0.0.1:\(plain.port)\(request.path)")])
    }
    let repository = try fixture.repository()
    #expect(try await repository.resolve(.tag("t")).mediaType.isManifest, "an address signed for GET alone")
    #expect(try await repository.tags(limit: 10) == ["t"])
  }

  @Test func aStorageHostThatRefusesADocumentIsNamed() async throws {
    let storage = try HTTPServer { _ in
      .init(403, headers: [("Content-Type", "text/plain")], body: Array("not for you".utf8))
    }
    defer { storage.stop() }
    fixture.registry.setFault { request, _ in
      .init(307, headers: [("Location", "http://127.0.0.1:\(storage.port)/x?sig=secret")])
    }
    let repository = try fixture.repository()
    for error in [
      await fixture.failure { _ = try await repository.resolve(.tag("t")) },
      await fixture.failure { _ = try await repository.tags(limit: 10) },
    ] {
      let error = try #require(error)
      #expect(error.code == .unauthorized)
      #expect(error.host == "127.0.0.1:\(storage.port)")
      #expect(error.reason.contains("not for you"), "\(error)")
      #expect(!"\(error)".contains("podman login") && !"\(error)".contains("secret"), "\(error)")
    }
  }

  @Test func aRegistryThatNoConnectionCanBeMadeToIsNamedWithAnAdvice() async throws {
    let repository = try fixture.repository { $0.retry.retryFor = .zero }
    fixture.registry.server.stop()
    let error = try #require(await fixture.failure { _ = try await repository.resolve(.tag("t")) })
    #expect(error.code == .unreachable)
    #expect("\(error)".contains(fixture.registry.host))
    #expect("\(error)".contains("Check the name of the registry"), "\(error)")
    #expect(error.underlying is HTTPError, "the cause is kept")
  }

  @Test func aRefusalOfTheStorageHostIsItsOwn() async throws {
    let storage = try fixture.storage { _ in
      .init(
        403,
        headers: [("Content-Type", "application/xml")],
        body: Array("<Error><Message>Request has\nexpired</Message></Error>".utf8)
      )
    }
    defer { storage.stop() }
    fixture.redirectBlobs(to: storage.port)
    let repository = try fixture.repository()
    let error = try #require(await fixture.failure { try await fixture.fetch(0..<10, repository) })
    #expect(error.code == .unauthorized)
    #expect(error.host == "127.0.0.1:\(storage.port)")
    #expect(error.reason.contains("Request has expired"), "\(error.reason)")
    #expect(!"\(error)".contains("podman login"))
    #expect(!"\(error)".contains("sig="), "signed URLs are secret")
    #expect(storage.requests.count <= 4)
  }

  @Test func anotherPathOfTheRegistryIsAskedWithoutAuthorizationWhereThatIsRefused() async throws {
    let registry = fixture.registry
    let blob = fixture.blob
    registry.setFault { request, _ in
      if request.path.hasPrefix("/storage/") {
        return request.headers["authorization"] == nil ? .init(200, body: blob) : .init(400)
      }
      guard request.headers["authorization"] != nil else {
        return .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
      }
      return .init(307, headers: [("Location", "/storage/b")])
    }
    let repository = try fixture.repository(auth: try fixture.authFile())
    #expect(try await fixture.fetch(0..<300_000, repository).bytes == blob)
  }

  @Test func aCacheIsAskedForTheManifestBeforeABlobCountsAsMissing() async throws {
    let registry = fixture.registry
    let entry = try registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    let asked = LockedSet()
    registry.setFault { request, number in
      if request.path.contains("/manifests/") { asked.insert("manifest \(number)") }
      guard request.path.contains("/blobs/"), asked.count < 2 else { return nil }
      return .init(404)
    }
    let repository = try fixture.repository()
    _ = try await repository.document(entry)
    #expect(Array(try await fixture.fetch(0..<10, repository).bytes[..<10]) == Array(fixture.blob[..<10]))
    registry.setFault { request, _ in request.path.contains("/blobs/") ? .init(404) : nil }
    #expect(await fixture.failure { try await fixture.fetch(0..<10, repository) }?.code == .notFound)
  }

  @Test func aManifestThatIsNotFoundByDigestIsAskedForByItsTag() async throws {
    let registry = fixture.registry
    try registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    registry.setFault { request, _ in request.path.contains("/manifests/sha256:") ? .init(404) : nil }
    let repository = try fixture.repository()
    let entry = try await repository.resolve(.tag("t"))
    #expect(try await repository.document(entry).descriptor.digest == entry.digest)
    // The tag has moved to another manifest.
    try registry.add(files: ["a": [2]], repository: "acme/x", tag: "t")
    #expect(await fixture.failure { _ = try await repository.document(entry) }?.code == .corrupt)
  }

  @Test func oneAcceptListNamesEveryType() async throws {
    let registry = fixture.registry
    try registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    let repository = try fixture.repository()
    let entry = try await repository.resolve(.tag("t"))
    _ = try await repository.document(entry)
    let lists = Set(
      registry.server.requests.filter { $0.path.contains("/manifests/") }.compactMap { $0.headers["accept"] }
    )
    #expect(lists.count == 1)
    #expect(MediaType.manifests.allSatisfy { lists.first?.contains($0.rawValue) ?? false })
  }

  @Test func oneBadRepositoryDoesNotHurtAnother() async throws {
    let registry = fixture.registry
    try registry.add(files: ["a": [1]], repository: "good/n", tag: "t")
    registry.setFault { request, _ in
      request.path.contains("/evil/") ? .init(302, headers: [("Location", request.path)]) : nil
    }
    let evil = try fixture.repository("evil/m")
    let name = try #require(RepositoryName(registry: registry.host, path: "good/n"))
    let good = evil.client.repository(name)
    #expect(await fixture.failure { _ = try await evil.resolve(.tag("t")) } != nil)
    _ = try await good.resolve(.tag("t"))
  }

  @Test func anEndpointWithoutAConnectionIsRememberedForAllItsRepositories() async throws {
    let host = fixture.registry.host
    fixture.registry.server.stop()
    let first = try fixture.repository("a/b") { $0.retry.retryFor = .milliseconds(100) }
    #expect(await fixture.failure { _ = try await first.resolve(.tag("t")) }?.code == .unreachable)
    let second = first.client.repository(try #require(RepositoryName(registry: host, path: "c/d")))
    let start = ContinuousClock.now
    #expect(await fixture.failure { _ = try await second.resolve(.tag("t")) }?.code == .unreachable)
    #expect(ContinuousClock.now - start < .seconds(1))
  }

  @Test func aDateAndAQuotaCountAsRetryAfter() throws {
    let url = try #require(RequestURL("https://a.io/"))
    func wait(_ headers: [(String, String)], status: Int = 429) -> Duration? {
      HTTPResponse(status: status, headers: headers.map { (name: $0.0, value: $0.1) }, url: url)
        .retryAfter(now: 784_111_770)
    }
    #expect(wait([("Retry-After", "7")]) == .seconds(7))
    #expect(wait([("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT")]) == .seconds(7))
    #expect(wait([("Retry-After", "Sun, 06 Nov 1994 08:49:00 GMT")]) == .zero)
    #expect(wait([("Retry-After", "-1")]) == nil)
    #expect(wait([("Retry-After", "soon")]) == nil)
    #expect(wait([("RateLimit", "\"api\";r=0;t=42")]) == .seconds(42))
    #expect(wait([("RateLimit", "\"api\";r=0;t=42")], status: 200) == nil)
    #expect(wait([("Retry-After", "99999999999")]) == .seconds(86_400))
  }

  @Test func everyRequestIsLoggedAtDebug() async throws {
    try fixture.registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    let repository = try fixture.repository()
    _ = try await repository.resolve(.tag("t"))
    try await fixture.fetch(5..<10, repository)
    let lines = fixture.messages.all.filter { $0.contains("a request") }
    #expect(
      lines.contains {
        $0.contains("method=HEAD") && $0.contains("path=/v2/acme/x/manifests/t") && $0.contains("status=200")
      }
    )
    #expect(
      lines.contains {
        $0.contains("method=GET") && $0.contains("bytes=5 ") && $0.contains("range=5-9")
          && $0.contains("host=\(fixture.registry.host)")
      }
    )
  }
}
