import HTTP
import Telemetry
import TestSupport
import Testing

struct TLSTests {
  @Test func certificatesComeFromTheUsualVariablesAndHTTP2IsSpoken() async throws {
    let folder = try TemporaryFolder()
    let made = try await Command.shell(
      """
      cd '\(folder.path)' && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
      """
    )
    try #require(made.status == 0, "\(made.error)")
    let tls = ", tls: {certificate: \(folder.path("cert.pem")), key: \(folder.path("key.pem"))}"
    let registry = try await DockerRegistry(tls: tls)
    let url = try #require(RequestURL("https://localhost:\(registry.port)/v2/"))
    for variable in ["SSL_CERT_FILE", "CURL_CA_BUNDLE"] {
      let trusting = TransferThread(metrics: Metrics(), environment: [variable: folder.path("cert.pem")])
      let (response, body) = try await trusting.send(HTTPRequest(.get, url), limit: 100)
      #expect(response.status == 200)
      #expect(body == Array("{}".utf8))
      trusting.stop()
    }
    #expect(try registry.log().contains("HTTP/2.0"))
    // Many requests at once share one connection.
    let before = try registry.log().count
    let sharing = TransferThread(metrics: Metrics(), environment: ["SSL_CERT_FILE": folder.path("cert.pem")])
    try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<8 {
        group.addTask { try await sharing.send(HTTPRequest(.get, url), limit: 100).response.status }
      }
      for try await status in group { #expect(status == 200) }
    }
    sharing.stop()
    let log = try registry.log().dropFirst(before)
    let clients = Set(log.matches(of: /http\.request\.remoteaddr="?([0-9.:\[\]]+)/).map { String($0.1) })
    #expect(clients.count == 1, "\(clients)")
    let strict = TransferThread(metrics: Metrics(), environment: [:])
    defer { strict.stop() }
    do throws(HTTPError) {
      _ = try await strict.send(HTTPRequest(.get, url), limit: 100)
      Issue.record("a self-signed certificate was trusted")
    } catch {
      #expect(error.code == .tls, "\(error)")
    }
  }
}
