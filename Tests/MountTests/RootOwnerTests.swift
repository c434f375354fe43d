import Content
import Foundation
import OCI
import TestSupport
import Testing

/// An existing root: who owns what weightfs adds to it, and the modes of the directories that it has already.
@Suite(.serialized) struct RootOwnerTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private let small = ModelFile.gguf(200_000, seed: 1)
  private let large = ModelFile.gguf(20_000_000, seed: 2)

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["small.gguf": small, "large.gguf": large], repository: "acme/m", tag: "t")
    try registry.add(files: ["other.gguf": ModelFile.gguf(300_000, seed: 3)], repository: "acme/n", tag: "t")
  }

  private func shell(_ script: String) async throws -> String {
    let result = try await Command.shell("cd '\(folder.path)' && \(script)")
    try #require(result.status == 0, "\(script): \(result.error)")
    return result.output
  }

  /// Uses a root with a mount and with commands, so that it has files of every kind.
  private func use(_ options: String = "") async throws {
    let mount = try await MountProcess(
      folder,
      ["--fill", "demand"] + options.split(separator: " ").map(String.init)
    )
    let artifact = mount.path("\(registry.host)/acme/m:t")
    _ = try await shell("cat '\(artifact)/small.gguf' >whole && head -c 4 '\(artifact)/large.gguf' >begin")
    let name = Verification.digest(of: small).hex
    #expect(await eventually { folder.has("root/.weightfs/blobs/sha256/\(name)") })
    let other = "\(registry.host)/acme/n:t"
    try FileManager.default.createDirectory(atPath: folder.path("point"), withIntermediateDirectories: true)
    for words in [
      "pull \(other)", "tag \(other) x.io/acme/n:mine", "pin \(other)",
      "convert --format oci-archive \(other)", "mount --offline point", "gc",
    ] {
      let result = try await WeightfsCommand.run("\(words) \(options)", in: folder)
      #expect(result.status == 0, "\(words): \(result.error)")
    }
    let unmounted = try await Command.run([MountProcess.program, "unmount", folder.path("point")])
    #expect(unmounted.status == 0, "\(unmounted.error)")
    withExtendedLifetime(mount) {}
  }

  @Test func whatIsAddedBelongsToTheOwnerAndTheGroupOfItsRoot() async throws {
    _ = try await shell("mkdir root && chown 4243:4242 root")
    try await use()
    let strangers = try await shell(
      #"find root \( ! -uid 4243 -o ! -gid 4242 \) -printf '%U:%G %p\n'"#
    )
    #expect(strangers.isEmpty, "\(strangers)")
    let files = Set(
      try await shell("find root -type f -printf '%P\n'").split(separator: "\n").map(String.init)
    )
    let host = registry.host.replacing(":", with: "__")
    for name in [
      ".weightfs/partial/sha256/\(Verification.digest(of: large).hex)",
      ".weightfs/partial/sha256/\(Verification.digest(of: large).hex).map", ".weightfs/mount.log",
      ".weightfs/state/space", ".weightfs/state/times", ".weightfs/locks/space",
      "\(host)/acme/m/__t/index.json", "\(host)/acme/n/__t.ommx", "x.io/acme/n/__mine/index.json",
    ] {
      #expect(files.contains(name), "\(name): \(files.sorted())")
    }
  }

  @Test(arguments: ["", "--shared-root group", "--shared-root all"])
  func theModesOfExistingDirectoriesStay(_ options: String) async throws {
    // Modes that no version of weightfs sets.
    _ = try await shell(
      """
      mkdir -p root/.weightfs/{blobs,partial}/sha256 root/.weightfs/state/{origins,references} \
        root/.weightfs/{locks,temporary} && chmod 0751 root && chmod 0711 root/.weightfs \
        && chmod 0701 root/.weightfs/{blobs,partial}{,/sha256} && chmod 0731 root/.weightfs/state{,/*} \
        && chmod 0721 root/.weightfs/{locks,temporary}
      """
    )
    let before = try await shell("find root -type d -printf '%m %p\n'").split(separator: "\n")
    #expect(before.count == 11)
    try await use(options)
    let after = Set(
      try await shell("find root -type d -printf '%m %p\n'").split(separator: "\n").map(String.init)
    )
    for line in before { #expect(after.contains(String(line)), "\(line) of \(after.sorted())") }
    #expect(after.contains { $0.hasSuffix(" root/.weightfs/state/pins") }, "missing directories are added")
  }
}
