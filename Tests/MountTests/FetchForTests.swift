import Foundation
import TestSupport
import Testing

/// `--fetch-for owner`: other users read local artifacts, and cause no requests.
@Suite(.serialized) struct FetchForTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private let small = ModelFile.gguf(200_000, seed: 1)
  private let large = ModelFile.gguf(20_000_000, seed: 2)

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["small.gguf": small, "large.gguf": large], repository: "acme/m", tag: "t")
    try registry.add(files: ["other.gguf": small], repository: "acme/m", tag: "u")
  }

  /// Runs a command as a user who is neither root nor the owner.
  private func asGuest(_ words: String) async throws -> Command.Result {
    try await Command.shell("setpriv --reuid 65534 --regid 65534 --clear-groups \(words)")
  }

  private func mount(_ options: [String]) async throws -> MountProcess {
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path)
    return try await MountProcess(folder, ["--allow-other", "--fill", "demand", "--ttl", "0"] + options)
  }

  @Test func othersCauseNoRequests() async throws {
    let mount = try await mount(["--fetch-for", "owner"])
    let artifact = mount.path("\(registry.host)/acme/m:t")
    for path in [artifact, mount.path("\(registry.host)/acme/m/t"), mount.path("\(registry.host)/acme/none")]
    {
      let refused = try await asGuest("ls '\(path)'")
      #expect(refused.error.contains("Permission denied"), "\(path): \(refused.error)")
    }
    // A name that cannot exist is absent for all users.
    #expect(try await asGuest("ls '\(mount.path(".git"))'").error.contains("No such file"))
    #expect(registry.server.requests.isEmpty, "\(registry.server.requests.map(\.path))")
    #expect(mount.messages.contains("--fetch-for"))
  }

  @Test func othersReadWhatIsComplete() async throws {
    let mount = try await mount(["--fetch-for", "owner"])
    let artifact = mount.path("\(registry.host)/acme/m:t")
    let own = try await Command.shell(
      "sha256sum '\(artifact)/small.gguf' && head -c 4 '\(artifact)/large.gguf'"
    )
    #expect(own.status == 0, "\(own.error)")
    #expect(
      await eventually {
        (try? await mount.attribute("state", of: "\(registry.host)/acme/m:t/small.gguf")) == "complete"
      }
    )
    let before = registry.server.requests.count
    let listed = try await asGuest("ls '\(artifact)'")
    #expect(listed.output == "large.gguf\nsmall.gguf\n", "\(listed.error)")
    let read = try await asGuest(
      "cmp '\(artifact)/small.gguf' '\(mount.path("\(registry.host)/acme/m/t/small.gguf"))'"
    )
    #expect(read.status == 0, "\(read.error)")
    let refused = try await asGuest("head -c 4 '\(artifact)/large.gguf'")
    #expect(refused.error.contains("Permission denied"), "\(refused.error)")
    let unknown = try await asGuest("ls '\(mount.path("\(registry.host)/acme/m:u"))'")
    #expect(unknown.error.contains("Permission denied"), "\(unknown.error)")
    #expect(try await asGuest("ls '\(mount.path("\(registry.host)/acme/m"))'").output == "t\n")
    #expect(
      registry.server.requests.count == before,
      "\(registry.server.requests.dropFirst(before).map(\.path))"
    )
    // The owner is not affected.
    #expect(try await Command.shell("cmp '\(artifact)/large.gguf' '\(artifact)/large.gguf'").status == 0)
  }

  @Test func byDefaultRequestsAreSentForAll() async throws {
    let mount = try await mount([])
    let read = try await asGuest("head -c 4 '\(mount.path("\(registry.host)/acme/m:t/large.gguf"))'")
    #expect(read.output == "GGUF", "\(read.error)")
  }

  @Test func theOwnerIsWhomTheFilesBelongTo() async throws {
    let mount = try await mount(["--fetch-for", "owner", "--uid", "65534"])
    let read = try await asGuest("head -c 4 '\(mount.path("\(registry.host)/acme/m:t/large.gguf"))'")
    #expect(read.output == "GGUF", "\(read.error)")
  }
}
