import Content
import HTTP
import Logging
import OCI
import Registry
import Synchronization
import Telemetry
import TestSupport
import Testing

struct RegistryFaultTests {
  private let registry: FaultyRegistry
  private let thread = TransferThread(metrics: Metrics(), environment: [:])
  private let blob = SeededGenerator.bytes(300_000, seed: 11)

  init() throws { registry = try FaultyRegistry() }

  private func client(
    _ configure: (inout RegistryConfiguration) -> Void = { _ in },
    auth: String? = nil
  ) -> RegistryClient {
    var configuration = RegistryConfiguration()
    configuration.stallTimeout = .seconds(30)
    configuration.retry.firstDelay = .milliseconds(5)
    configuration.retry.retryFor = .seconds(2)
    configure(&configuration)
    return RegistryClient(
      thread: thread,
      credentials: CredentialFiles(
        environment: ["REGISTRY_AUTH_FILE": auth ?? "/none"],
        log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
      ),
      configuration: configuration,
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    )
  }

  private func repository(_ client: RegistryClient? = nil) throws -> RegistryRepository {
    let name = try #require(RepositoryName(registry: registry.host, path: "acme/x"))
    return (client ?? self.client()).repository(name)
  }

  private func fetch(
    _ range: Range<Int64>,
    _ repository: RegistryRepository? = nil
  ) async throws -> CollectingSink {
    let descriptor = registry.add(blob: blob)
    let sink = CollectingSink(size: blob.count)
    try await (repository ?? self.repository()).fetch(descriptor, range: range, into: sink)
    return sink
  }

  private func code(_ body: () async throws -> Void) async -> ContentError.Code? {
    do {
      try await body()
      return nil
    } catch {
      return (error as? ContentError)?.code
    }
  }

  // MARK: Resolving

  @Test func resolvesByHeadAlone() async throws {
    let expected = try registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    #expect(try await repository().resolve(.tag("t")) == expected)
    #expect(registry.server.requests.map(\.method) == ["HEAD"])
  }

  @Test func computesTheDigestWhereTheHeaderIsMissing() async throws {
    let expected = try registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    let registry = registry
    registry.setFault { request, _ in
      var answer = registry.truth(request)
      answer.headers.removeAll { $0.0 == "Docker-Content-Digest" }
      return answer
    }
    #expect(try await repository().resolve(.tag("t")) == expected)
    #expect(registry.server.requests.map(\.method) == ["HEAD", "GET"])
  }

  @Test func aDigestThatLiesIsCorrupt() async throws {
    let expected = try registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    let registry = registry
    let lie = Verification.digest(of: [7])
    registry.setFault { request, _ in
      var answer = registry.truth(request)
      answer.headers = answer.headers.map { $0.0 == "Docker-Content-Digest" ? ($0.0, "\(lie)") : $0 }
      return answer
    }
    #expect(await code { _ = try await repository().resolve(.digest(expected.digest)) } == .corrupt)
    // By tag, the mismatch is found when the manifest is read.
    let resolved = try await repository().resolve(.tag("t"))
    #expect(await code { _ = try await repository().document(resolved) } != nil)
  }

  @Test func aManifestOfAGigabyteIsNotRead() async throws {
    let expected = try registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    registry.setFault { request, _ in
      guard request.path.contains("/manifests/") else { return nil }
      var answer = HTTPServer.Answer(
        200,
        headers: [
          ("Content-Type", "application/vnd.oci.image.manifest.v1+json"),
          ("Docker-Content-Digest", "\(expected.digest)"),
        ],
        body: [UInt8](repeating: 0x20, count: 6 << 20)
      )
      answer.declaredLength = 1 << 30
      return answer
    }
    #expect(await code { _ = try await repository().resolve(.tag("t")) } == .invalid)
    #expect(registry.server.requests.filter { $0.method == "GET" }.isEmpty)
  }

  @Test func whatIsNotThereIsNotFoundAndNeverRetried() async throws {
    #expect(await code { _ = try await repository().resolve(.tag("none")) } == .notFound)
    #expect(registry.server.requests.count == 1)
  }

  // MARK: Tags

  @Test func followsPagesRelativeAndAbsoluteAndEndsCircles() async throws {
    let host = registry.host
    registry.setFault { request, _ in
      guard request.path.hasSuffix("/tags/list") else { return nil }
      switch request.query {
      case "n=1000":
        return .init(
          200,
          headers: [("Link", "</v2/acme/x/tags/list?n=1000&last=b>; rel=\"next\"")],
          body: Array(#"{"tags":["a","b"]}"#.utf8)
        )
      case "n=1000&last=b":
        return .init(
          200,
          headers: [("Link", "<http://\(host)/v2/acme/x/tags/list?n=1000&last=c>; rel=next")],
          body: Array(#"{"tags":["c","not valid!"]}"#.utf8)
        )
      default:
        return .init(
          200,
          headers: [("Link", "</v2/acme/x/tags/list?n=1000&last=b>; rel=\"next\"")],
          body: Array(#"{"tags":null}"#.utf8)
        )
      }
    }
    #expect(try await repository().tags(limit: 5000) == ["a", "b", "c"])
    #expect(registry.server.requests.count == 3)
  }

  @Test func aPageOnAnotherHostIsNotFollowed() async throws {
    registry.setFault { _, _ in
      .init(
        200,
        headers: [("Link", "<http://127.0.0.1:1/v2/acme/x/tags/list?last=a>; rel=\"next\"")],
        body: Array(#"{"tags":["a"]}"#.utf8)
      )
    }
    #expect(try await repository().tags(limit: 5000) == ["a"])
  }

  @Test func theCatalogIsAuthorizedAndPaged() async throws {
    registry.setFault { request, _ in
      guard request.path == "/v2/_catalog" else { return nil }
      guard request.headers["authorization"] == "Basic dTpw" else {
        return .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
      }
      let names = request.query.contains("last=") ? ["z/last"] : (0..<1000).map { "a/r\($0)" }
      return .init(
        200,
        body: Array("{\"repositories\":[\(names.map { "\"\($0)\"" }.joined(separator: ","))]}".utf8)
      )
    }
    let folder = try TemporaryFolder()
    let file = try folder.write(
      Array(#"{"auths":{"\#(registry.host)":{"auth":"dTpw"}}}"#.utf8),
      to: "auth.json"
    )
    let names = try await client(auth: file).catalog(of: registry.host, limit: 5000)
    #expect(names.count == 1001)
    #expect(names.last == "z/last")
  }

  @Test func aRedirectTargetIsNotGivenWhatIsTheRegistrys() async throws {
    let thief = try HTTPServer { request in
      request.path == "/token"
        ? .init(200, body: Array(#"{"token":"x"}"#.utf8))
        : .init(
          401,
          headers: [("WWW-Authenticate", "Bearer realm=\"http://\(request.headers["host"] ?? "")/token\"")]
        )
    }
    defer { thief.stop() }
    let port = thief.port
    registry.setFault { _, _ in .init(307, headers: [("Location", "http://127.0.0.1:\(port)/x")]) }
    let folder = try TemporaryFolder()
    let file = try folder.write(
      Array(#"{"auths":{"\#(registry.host)":{"auth":"dTpw"}}}"#.utf8),
      to: "auth.json"
    )
    let repository = try repository(client(auth: file))
    #expect(await code { _ = try await repository.resolve(.tag("t")) } == .unauthorized)
    #expect(await code { _ = try await fetch(0..<10, repository) } == .unauthorized)
    #expect(thief.requests.allSatisfy { $0.headers["authorization"] == nil && $0.path != "/token" })
  }

  @Test func pagesWithoutEndEnd() async throws {
    registry.setFault { _, number in
      .init(
        200,
        headers: [("Link", "<?n=1&last=\(number)>; rel=\"next\"")],
        body: Array(#"{"tags":[]}"#.utf8)
      )
    }
    #expect(try await repository().tags(limit: 1).isEmpty)
    #expect(registry.server.requests.count == 1)
  }

  // MARK: Blobs

  @Test func aCutBodyGoesOnWhereItBroke() async throws {
    let registry = registry
    registry.setFault { request, number in
      var answer = registry.truth(request)
      if number <= 2 { answer.cutAfter = 50_000 }
      return answer
    }
    let sink = try await fetch(0..<300_000)
    #expect(sink.bytes == blob)
    #expect(sink.received == blob.count)
    #expect(
      registry.blobRequests.map { $0.headers["range"] } == [nil, "bytes=50000-299999", "bytes=100000-299999"]
    )
  }

  @Test func aWholeBodyInAnswerToARangeIsUsed() async throws {
    let bytes = blob
    registry.setFault { request, _ in request.path.contains("/blobs/") ? .init(200, body: bytes) : nil }
    let sink = try await fetch(100_000..<100_010)
    #expect(Array(sink.bytes[100_000..<100_010]) == Array(blob[100_000..<100_010]))
    #expect(registry.blobRequests.count == 1)
  }

  @Test func aSizeThatLiesIsCorrupt() async throws {
    registry.setFault { request, _ in
      guard request.path.contains("/blobs/") else { return nil }
      return .init(
        206,
        headers: [("Content-Range", "bytes 0-9/12345")],
        body: [UInt8](repeating: 0, count: 10)
      )
    }
    #expect(await code { _ = try await fetch(0..<10) } == .corrupt)
  }

  @Test func anotherRangeThanAskedForIsCorrupt() async throws {
    registry.setFault { request, _ in
      guard request.path.contains("/blobs/") else { return nil }
      return .init(
        206,
        headers: [("Content-Range", "bytes 5-14/300000")],
        body: [UInt8](repeating: 0, count: 10)
      )
    }
    #expect(await code { _ = try await fetch(0..<10) } == .corrupt)
  }

  @Test func tooManyRequestsIsObeyed() async throws {
    let registry = registry
    registry.setFault { request, number in
      number == 1 ? .init(429, headers: [("Retry-After", "1")]) : registry.truth(request)
    }
    let start = ContinuousClock.now
    #expect(try await fetch(0..<300_000).bytes == blob)
    #expect(ContinuousClock.now - start >= .milliseconds(990))
  }

  @Test func anErrorThatStaysIsUnreachableAfterAllRetries() async throws {
    registry.setFault { _, _ in .init(503) }
    #expect(await code { _ = try await fetch(0..<10) } == .unreachable)
    #expect(registry.blobRequests.count > 1)
  }

  @Test func aSignedAddressIsUsedAgainAndAskedForAnewWhenItEnds() async throws {
    let bytes = blob
    let box = ExpiryBox()
    let cdn = try HTTPServer { request in
      if box.isExpired(request.query) { return .init(403) }
      guard let range = request.range(size: bytes.count) else { return .init(200, body: bytes) }
      return .init(
        206,
        headers: [("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(bytes.count)")],
        body: Array(bytes[range])
      )
    }
    defer { cdn.stop() }
    let port = cdn.port
    registry.setFault { request, number in
      guard request.path.contains("/blobs/") else { return nil }
      return .init(307, headers: [("Location", "http://127.0.0.1:\(port)/b?sig=\(number)")])
    }
    let repository = try repository()
    _ = try await fetch(0..<10, repository)
    _ = try await fetch(10..<20, repository)
    #expect(registry.blobRequests.count == 1)
    box.expire("sig=1")
    #expect(Array(try await fetch(20..<30, repository).bytes[20..<30]) == Array(blob[20..<30]))
    #expect(registry.blobRequests.count == 2)
  }

  // MARK: Authorization

  private func bearer(expiresIn: Int = 300, log: TokenLog) throws -> HTTPServer {
    let registry = registry
    let tokens = try HTTPServer { request in
      let number = log.issue()
      return .init(200, body: Array(#"{"access_token":"token-\#(number)","expires_in":\#(expiresIn)}"#.utf8))
    }
    let port = tokens.port
    registry.setFault { request, _ in
      guard let header = request.headers["authorization"], log.accepts(header) else {
        let challenge = "Bearer realm=\"http://127.0.0.1:\(port)/token\",service=\"reg, istry\""
        return .init(401, headers: [("WWW-Authenticate", challenge)])
      }
      return registry.truth(request)
    }
    return tokens
  }

  @Test func oneTokenIsFetchedForAllWhoWait() async throws {
    let log = TokenLog()
    let tokens = try bearer(log: log)
    defer { tokens.stop() }
    try registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    let repository = try repository()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<20 { group.addTask { _ = try await repository.resolve(.tag("t")) } }
      try await group.waitForAll()
    }
    #expect(tokens.requests.count == 1)
    // If the challenge has no scope, that of the repository is requested; without a credential no header is
    // sent.
    let query = try #require(tokens.requests.first?.query)
    #expect(query.contains("scope=repository%3Aacme%2Fx%3Apull"))
    #expect(query.contains("service=reg%2C%20istry"))
    #expect(tokens.requests.first?.headers["authorization"] == nil)
  }

  @Test func aTokenThatEndsInMidReadIsReplaced() async throws {
    let log = TokenLog()
    let tokens = try bearer(log: log)
    defer { tokens.stop() }
    let repository = try repository()
    _ = try await fetch(0..<10, repository)
    log.revokeAll()
    #expect(Array(try await fetch(10..<20, repository).bytes[10..<20]) == Array(blob[10..<20]))
    #expect(tokens.requests.count == 2)
  }

  @Test func credentialsGoToTheTokenServerAlone() async throws {
    let log = TokenLog()
    let tokens = try bearer(log: log)
    defer { tokens.stop() }
    let folder = try TemporaryFolder()
    let file = try folder.write(
      Array(#"{"auths":{"\#(registry.host)":{"auth":"dTpw"}}}"#.utf8),
      to: "auth.json"
    )
    try registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    _ = try await repository(client(auth: file)).resolve(.tag("t"))
    #expect(tokens.requests.first?.headers["authorization"] == "Basic dTpw")
    #expect(registry.server.requests.allSatisfy { $0.headers["authorization"] != "Basic dTpw" })
  }

  @Test func aRefusalIsUnauthorizedAndEnds() async throws {
    registry.setFault { _, _ in .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")]) }
    #expect(await code { _ = try await repository().resolve(.tag("t")) } == .unauthorized)
    #expect(registry.server.requests.count == 1)
    registry.server.forgetRequests()
    #expect(await code { _ = try await fetch(0..<10) } == .unauthorized)
    #expect(registry.server.requests.count <= 2)
  }

  @Test func authorizationDoesNotFollowARedirectToAnotherHost() async throws {
    let log = TokenLog()
    let tokens = try bearer(log: log)
    let bytes = blob
    let other = try HTTPServer { _ in .init(200, body: bytes) }
    defer {
      tokens.stop()
      other.stop()
    }
    let port = other.port
    let tokenPort = tokens.port
    registry.setFault { request, _ in
      guard let header = request.headers["authorization"], log.accepts(header) else {
        return .init(
          401,
          headers: [("WWW-Authenticate", "Bearer realm=\"http://127.0.0.1:\(tokenPort)/token\"")]
        )
      }
      return .init(302, headers: [("Location", "http://127.0.0.1:\(port)/leak")])
    }
    let repository = try repository()
    #expect(try await fetch(0..<300_000, repository).bytes == blob)
    _ = try await fetch(0..<300_000, repository)
    #expect(other.requests.count == 2)
    #expect(other.requests.allSatisfy { $0.headers["authorization"] == nil })
  }
}

/// The signed URLs that have expired.
private final class ExpiryBox: Sendable {
  private let expired = Mutex<Set<String>>([])

  func expire(_ query: String) { _ = expired.withLock { $0.insert(query) } }
  func isExpired(_ query: String) -> Bool { expired.withLock { $0.contains(query) } }
}

/// The valid tokens that were issued.
private final class TokenLog: Sendable {
  private struct State {
    var issued = 0
    var good: Set<String> = []
  }

  private let state = Mutex(State())

  func issue() -> Int {
    state.withLock { state in
      state.issued += 1
      state.good.insert("Bearer token-\(state.issued)")
      return state.issued
    }
  }

  func accepts(_ header: String) -> Bool { state.withLock { $0.good.contains(header) } }
  func revokeAll() { state.withLock { $0.good = [] } }
}
