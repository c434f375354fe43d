import Content
import HTTP
import Logging
import OCI
import Registry
import Telemetry
import TestSupport
import Testing

/// Registries on this machine with TLS, and the messages about certificates.
struct LoopbackTLSTests {
  private let folder: TemporaryFolder
  private let messages = CollectedMessages()

  init() throws { folder = try TemporaryFolder() }

  /// Starts a registry with its own certificate.
  private func registry(days: Int = 2, name: String = "localhost") async throws -> DockerRegistry {
    let made = try await Command.shell(
      """
      cd '\(folder.path)' && openssl req -newkey rsa:2048 -nodes -keyout key.pem -out req.pem -subj /CN=x \
        -addext subjectAltName=DNS:\(name) 2>/dev/null && openssl x509 -req -in req.pem -signkey key.pem \
        -days \(days) -copy_extensions copy -out cert.pem 2>/dev/null
      """
    )
    try #require(made.status == 0, "\(made.error)")
    return try await DockerRegistry(
      tls: ", tls: {certificate: \(folder.path("cert.pem")), key: \(folder.path("key.pem"))}"
    )
  }

  private func client(isTrusted: Bool = true) -> RegistryClient {
    let messages = messages
    let log = Logger(label: "test") { _ in CollectingLog(messages: messages) }
    let environment = isTrusted ? ["SSL_CERT_FILE": folder.path("cert.pem")] : [:]
    var configuration = RegistryConfiguration()
    configuration.retry.retryFor = .seconds(1)
    return RegistryClient(
      thread: TransferThread(metrics: Metrics(), environment: environment),
      credentials: CredentialFiles(explicit: "/none", environment: [:], log: log),
      configuration: configuration,
      log: log
    )
  }

  private func repository(_ registry: DockerRegistry, isTrusted: Bool = true) throws -> RegistryRepository {
    client(isTrusted: isTrusted).repository(
      try #require(RepositoryName(registry: registry.host, path: "a/b"))
    )
  }

  private func failure(_ repository: RegistryRepository) async -> ContentError? {
    do throws(ContentError) {
      _ = try await repository.resolve(.tag("t"))
      return nil
    } catch {
      return error
    }
  }

  @Test func theCatalogIsAskedByHTTPSAsWell() async throws {
    let registry = try await registry()
    #expect(try await client().catalog(of: registry.host, limit: 10) == [])
  }

  @Test func aRegistryOnLoopbackThatSpeaksTLSIsAskedByHTTPS() async throws {
    let registry = try await registry()
    let repository = try repository(registry)
    #expect(await failure(repository)?.code == .notFound, "\(messages.all)")
    #expect(await failure(repository)?.code == .notFound)
    let requests = messages.all.filter { $0.contains("a request") }
    #expect(requests.count == 3, "plain http is tried once: \(requests)")
  }

  @Test func aServerThatAnswersPlainHTTPWithAnAlertIsAskedByHTTPS() async throws {
    let registry = try FaultyRegistry()
    try registry.add(files: ["a": [1]], repository: "a/b", tag: "t")
    let front = try await TLSFront(to: registry.server.port)
    let log = Logger(label: "test") { [messages] _ in CollectingLog(messages: messages) }
    let client = RegistryClient(
      thread: TransferThread(metrics: Metrics(), environment: ["SSL_CERT_FILE": front.trusted]),
      credentials: CredentialFiles(explicit: "/none", environment: [:], log: log),
      configuration: RegistryConfiguration(),
      log: log
    )
    let repository = client.repository(try #require(RepositoryName(registry: front.host, path: "a/b")))
    let entry = try await repository.resolve(.tag("t"))
    _ = try await repository.document(entry)
    #expect(registry.server.requests.map(\.method) == ["HEAD", "GET"])
    let requests = messages.all.filter { $0.contains("a request ") }
    #expect(requests.count == 3, "plain http is tried once: \(requests)")
    withExtendedLifetime(front) {}
  }

  @Test func messagesTellWhatIsWrongWithACertificate() async throws {
    for (days, name, isTrusted, reason) in [
      (-1, "localhost", true, "has expired"), (2, "elsewhere.example", true, "for another host"),
      (2, "localhost", false, "self-signed"),
    ] {
      let registry = try await registry(days: days, name: name)
      let error = await failure(try repository(registry, isTrusted: isTrusted))
      #expect(error?.code == .unreachable)
      #expect(error?.reason.contains(reason) ?? false, "\(error?.reason ?? "")")
    }
  }
}
