import Foundation

/// A real registry (Debian's docker-registry) on loopback.
package final class DockerRegistry: Sendable {
  package let folder: TemporaryFolder
  package let port: Int
  private let process: Int32

  /// Starts a registry on a free port, or on a given port.
  package init(
    folder: TemporaryFolder? = nil,
    port: Int = 0,
    authentication: String = "",
    tls: String = ""
  ) async throws {
    let folder = try folder ?? TemporaryFolder()
    let text = """
      version: 0.1
      log: {level: info}
      storage: {filesystem: {rootdirectory: \(folder.path("data"))}, delete: {enabled: true}}
      http: {addr: "127.0.0.1:\(port)"\(tls)}
      \(authentication)
      """
    try folder.write(Array(text.utf8), to: "registry.yml")
    try folder.write([], to: "log")
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/docker-registry")
    process.arguments = ["serve", folder.path("registry.yml")]
    process.standardOutput = FileHandle(forWritingAtPath: folder.path("log"))
    process.standardError = process.standardOutput
    try process.run()
    self.folder = folder
    self.process = process.processIdentifier
    self.port = try await Self.wait(folder, self.process)
  }

  deinit { kill(process, SIGKILL) }

  private static func wait(_ folder: TemporaryFolder, _ process: Int32) async throws -> Int {
    for _ in 0..<200 {
      let log = String(decoding: try folder.read("log"), as: UTF8.self)
      if let match = log.firstMatch(of: /listening on 127\.0\.0\.1:(\d+)/), let port = Int(match.1) {
        return port
      }
      try await Task.sleep(for: .milliseconds(50))
    }
    throw POSIXError(.ETIMEDOUT)
  }

  /// `localhost:PORT`.
  package var host: String { "localhost:\(port)" }

  /// Kills the registry, like a machine that fails.
  package func stop() { kill(process, SIGKILL) }

  /// Returns the bytes of blobs sent since the start.
  package func bytesSent() throws -> Int {
    let log = String(decoding: try folder.read("log"), as: UTF8.self)
    return log.matches(of: /"GET [^"]*\/blobs\/[^"]*" 20[06] (\d+)/).reduce(0) { $0 + (Int($1.1) ?? 0) }
  }

  /// Returns the log so far.
  package func log() throws -> String { String(decoding: try folder.read("log"), as: UTF8.self) }

  /// Returns the request lines of the log so far: `GET /v2/… HTTP/1.1`.
  package func requests() throws -> [String] {
    let log = String(decoding: try folder.read("log"), as: UTF8.self)
    return log.matches(of: /"((?:GET|HEAD) [^"]*)" \d+/).map { String($0.1) }
  }
}
