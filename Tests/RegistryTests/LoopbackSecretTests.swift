import Content
import HTTP
import Logging
import OCI
import Registry
import Telemetry
import TestSupport
import Testing

/// A registry on this machine is asked in plain http first, although it may speak TLS: nothing secret is in that request.
struct LoopbackSecretTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  // The answer of a server in Go to plain http; nil for a TLS alert.
  private static let answers: [String?] = [
    nil, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
  ]

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["a": [1]], repository: "acme/x", tag: "t")
    registry.setFault { request, _ in
      request.headers["authorization"] == "Basic dTpw"
        ? nil : .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
    }
  }

  @Test(arguments: answers)
  func noAuthorizationIsSentBeforeTheSwitchToTLS(_ answer: String?) async throws {
    let front = try await TLSFront(to: registry.server.port)
    let recorder = try await PlainTextRecorder(to: front.port, answer: answer)
    let host = "localhost:\(recorder.port)"
    let file = try folder.write(Array(#"{"auths":{"\#(host)":{"auth":"dTpw"}}}"#.utf8), to: "auth.json")
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let client = RegistryClient(
      thread: TransferThread(metrics: Metrics(), environment: ["SSL_CERT_FILE": front.trusted]),
      credentials: CredentialFiles(explicit: file, environment: [:], log: log),
      configuration: RegistryConfiguration(),
      log: log
    )
    let repository = client.repository(try #require(RepositoryName(registry: host, path: "acme/x")))
    // Several requests find out the scheme at once.
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<8 { group.addTask { _ = try await repository.resolve(.tag("t")) } }
      try await group.waitForAll()
    }
    let entry = try await repository.resolve(.tag("t"))
    _ = try await repository.document(entry)
    let plain = try recorder.plainText()
    #expect(plain.contains("HEAD /v2/acme/x/manifests/t HTTP/1.1"), "\(plain)")
    #expect(!plain.contains("GET "), "the manifest is asked for by TLS alone")
    for secret in ["authorization", "basic", "dtpw"] {
      #expect(!plain.lowercased().contains(secret), "\(plain)")
    }
    let sent = registry.server.requests.map { $0.headers["authorization"] ?? "none" }
    #expect(sent.first == "none" && sent.last == "Basic dTpw", "\(sent)")
    withExtendedLifetime((front, recorder)) {}
  }
}
