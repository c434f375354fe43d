import Content
import Foundation
import OCI
import TestSupport
import Testing

/// `--shared-root`: the modes of the files that several users write to, and two users of one root.
@Suite(.serialized) struct SharedRootTests {
  /// A kind of sharing, with the groups of two users.
  struct Share: Sendable, CustomTestStringConvertible {
    let name: String
    let groups: [Int]
    let directoryMode: String
    let fileMode: String

    var testDescription: String { name }

    static let all = [
      Share(name: "group", groups: [4242, 4242], directoryMode: "770", fileMode: "660"),
      Share(name: "all", groups: [4243, 4244], directoryMode: "777", fileMode: "666"),
    ]
  }

  private static let users = [4243, 4244]
  private static let tensor = 6 << 20

  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private let model = ModelFile.safetensors([("a", Self.tensor), ("b", Self.tensor), ("c", Self.tensor)])

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["model.safetensors": model], repository: "acme/m", tag: "t")
    try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder.path)
  }

  private var name: String { "\(registry.host)/acme/m:t" }

  /// Runs a command as one of two users, neither of whom is root.
  private func run(
    _ words: String,
    as user: Int,
    _ share: Share,
    umask: String = "022"
  ) async throws -> Command.Result {
    let identity = "--reuid \(Self.users[user]) --regid \(share.groups[user]) --clear-groups"
    let line = WeightfsCommand.line(
      words.replacing(" ", with: " --shared-root \(share.name) ", maxReplacements: 1),
      in: folder
    )
    return try await Command.shell(
      "umask \(umask) && setpriv \(identity) env HOME='\(folder.path("none"))' XDG_RUNTIME_DIR= \(line)"
    )
  }

  @Test(arguments: Share.all)
  func stateLocksAndPartialBlobsHaveTheModeOfTheShareWhateverTheUmask(_ share: Share) async throws {
    let fetched = try await run("prefetch \(name) --tensors b", as: 0, share, umask: "077")
    try #require(fetched.status == 0, "\(fetched.error)")
    let found = try await Command.shell(
      "cd '\(folder.path("root"))' && find . -path './.weightfs*' ! -path './.weightfs/blobs/*/*' -printf '%y %m %p\n'"
    )
    let lines = found.output.split(separator: "\n").map(String.init)
    for line in lines {
      let mode = line.hasPrefix("d ") ? share.directoryMode : share.fileMode
      #expect(line.dropFirst(2).hasPrefix("\(mode) "), "\(line)")
    }
    let digest = Verification.digest(of: model).hex
    for path in [
      "partial/sha256/\(digest)", "partial/sha256/\(digest).map", "locks/space", "locks/partial-\(digest)",
      "state/space", "state/times", "state/references/sha256-\(digest)",
    ] {
      #expect(lines.contains("f \(share.fileMode) ./.weightfs/\(path)"), "\(path): \(lines)")
    }
    let root = try await Command.run(["stat", "-c", "%a", folder.path("root")])
    #expect(root.output == "\(share.directoryMode)\n")
  }

  @Test(arguments: Share.all)
  func aSecondUserGoesOnWithThePartialBlobOfTheFirst(_ share: Share) async throws {
    for (user, tensor) in [(0, "b"), (1, "a"), (0, "c")] {
      let fetched = try await run("prefetch \(name) --tensors \(tensor)", as: user, share)
      #expect(fetched.status == 0, "\(user): \(fetched.error)")
    }
    // The owner of the blob completes it; no byte is fetched twice, whoever fetched it.
    let completed = try await run("pull \(name)", as: 0, share)
    #expect(completed.status == 0, "\(completed.error)")
    let sent = registry.blobRequests.filter { $0.path.hasSuffix(Verification.digest(of: model).hex) }
      .reduce(0) { $0 + ($1.range(size: model.count)?.count ?? model.count) }
    #expect(sent < model.count + Self.tensor / 2, "\(sent) of \(model.count) bytes")
    for user in Self.users.indices {
      let read = try await run("cat --offline \(name) model.safetensors | sha256sum", as: user, share)
      #expect(read.output.hasPrefix(Verification.digest(of: model).hex), "\(user): \(read.error)")
    }
  }

  @Test(arguments: Share.all)
  func aSecondUserAddsATagAndReadsTheBlobsOfTheFirstWhateverTheUmask(_ share: Share) async throws {
    try registry.add(files: ["other.gguf": ModelFile.gguf(300_000, seed: 5)], repository: "acme/m", tag: "u")
    let first = try await run("pull \(name)", as: 0, share, umask: "077")
    try #require(first.status == 0, "\(first.error)")
    let second = try await run("pull \(registry.host)/acme/m:u", as: 1, share, umask: "077")
    #expect(second.status == 0, "\(second.error)")
    let read = try await run(
      "cat --offline \(name) model.safetensors | sha256sum",
      as: 1,
      share,
      umask: "077"
    )
    #expect(read.output.hasPrefix(Verification.digest(of: model).hex), "\(read.error)")
  }

  @Test func aLayoutThatAUserCannotReadIsNotRemoved() async throws {
    let share = Share.all[1]
    let fetched = try await run("pull \(name)", as: 0, share)
    try #require(fetched.status == 0, "\(fetched.error)")
    let host = registry.host.replacing(":", with: "__")
    let layout = folder.path("root/\(host)/acme/m/__t")
    #expect(try await Command.run(["chmod", "700", layout]).status == 0)
    let removed = try await run("rm \(name)", as: 1, share)
    #expect(removed.status == 1 && removed.error.contains("ermission denied"), "\(removed.error)")
    #expect(folder.has("root/\(host)/acme/m/__t/index.json"))
    let kept = try await run("cat --offline \(name) model.safetensors | sha256sum", as: 0, share)
    #expect(kept.output.hasPrefix(Verification.digest(of: model).hex), "\(kept.error)")
  }

  @Test func aUserOfAnotherGroupCannotUseARootOfAGroup() async throws {
    let share = Share.all[0]
    let fetched = try await run("pull \(name)", as: 0, share)
    try #require(fetched.status == 0, "\(fetched.error)")
    let outsider = Share(name: "group", groups: [0, 4245], directoryMode: "", fileMode: "")
    let refused = try await run("exists --offline \(name)", as: 1, outsider)
    #expect(refused.status == 1 && refused.error.contains("ermission denied"), "\(refused.error)")
  }
}
