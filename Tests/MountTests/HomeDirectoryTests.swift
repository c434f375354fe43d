import Foundation
import TestSupport
import Testing

/// Credentials where HOME is unset, as under systemd and mount(8).
///
/// The home directory is then that of the user database.
@Suite(.serialized) struct HomeDirectoryTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["a.bin": [1]], repository: "acme/m", tag: "t")
    registry.setFault { request, _ in
      request.headers["authorization"] == "Basic dTpw"
        ? nil : .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
    }
    try folder.write(Array("root:x:0:0:root:\(folder.path("home")):/bin/bash\n".utf8), to: "passwd")
  }

  /// Runs `exists` with another user database, in a mount namespace of its own.
  private func exists(_ home: String) async throws -> Command.Result {
    let unset = ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"]
      .map { "-u \($0)" }.joined(separator: " ")
    let line = WeightfsCommand.line("exists \(registry.host)/acme/m:t", in: folder)
    try folder.write(
      Array(
        "mount --bind '\(folder.path("passwd"))' /etc/passwd && exec env \(unset) \(home) \(line)\n".utf8
      ),
      to: "exists.sh"
    )
    return try await Command.run(["timeout", "60", "unshare", "--mount", "bash", folder.path("exists.sh")])
  }

  @Test(arguments: [".docker/config.json", ".config/containers/auth.json"])
  func theFilesBelowTheHomeDirectoryOfTheUserDatabaseAreRead(_ file: String) async throws {
    try folder.write(
      Array(#"{"auths":{"\#(registry.host)":{"auth":"dTpw"}}}"#.utf8),
      to: "home/\(file)"
    )
    let found = try await exists("-u HOME")
    #expect(found.status == 0, "\(found.error)")
    // An empty variable is as good as none; one that is set names the directory.
    #expect(try await exists("HOME=").status == 0)
    let elsewhere = try await exists("HOME='\(folder.path("none"))'")
    #expect(elsewhere.status == 4, "\(elsewhere.error)")
  }
}
