import Content
import Foundation
import OCI
import TestSupport
import Testing

/// The commands as used by a script: output, exit status, resulting files.
@Suite(.serialized) struct CommandTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private let model = SeededGenerator.bytes(3_000_000, seed: 31)

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(
      files: ["model.gguf": model, "mmproj.gguf": [1, 2], "config.json": Array("{}".utf8)],
      repository: "acme/m",
      tag: "t"
    )
  }

  private func weightfs(_ words: String, root: String = "root") async throws -> Command.Result {
    try await WeightfsCommand.run(words, in: folder, root: root)
  }

  private var name: String { "\(registry.host)/acme/m:t" }

  @Test func exitStatusesTellFailuresApart() async throws {
    let digest = Verification.digest(of: [1])
    for (words, status) in [
      ("exists \(name)", 0), ("exists docker://\(name)", 0), ("exists oci://\(name)", 0),
      ("exists rlcr://\(name)", 0),
      ("exists \(registry.host)/acme/m:none", 3), ("exists \(registry.host)/acme/m@\(digest)", 3),
      ("exists 127.0.0.1:1/a/b:c", 5), ("exists --offline \(name)", 5), ("pull --offline \(name)", 5),
      ("exists Not//Valid", 64), ("exists", 64), ("mount", 64), ("ls oci:\(folder.path("none"))", 3),
      ("cat \(name) nothing", 3),
    ] as [(String, Int32)] {
      let result = try await weightfs(words, root: "empty")
      #expect(result.status == status, "\(words): \(result.status) \(result.error)")
      if status != 0 { #expect(!result.error.isEmpty, "\(words)") }
    }
    registry.setFault { request, _ in .init(403) }
    #expect(try await weightfs("exists \(name)", root: "other").status == 4)
  }

  @Test func corruptIsAStatusOfItsOwn() async throws {
    registry.setFault { request, _ in
      guard request.path.hasSuffix(Verification.digest(of: SeededGenerator.bytes(3_000_000, seed: 31)).hex)
      else { return nil }
      guard let range = request.range(size: 3_000_000) else {
        return .init(200, body: [UInt8](repeating: 0, count: 3_000_000))
      }
      return .init(
        206,
        headers: [("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/3000000")],
        body: [UInt8](repeating: 0, count: range.count)
      )
    }
    let result = try await weightfs("pull \(name)")
    #expect(result.status == 6, "\(result.error)")
    #expect(!folder.has("root/.weightfs/blobs/sha256/\(Verification.digest(of: model).hex)"))
  }

  @Test func pullFetchesEverythingOnce() async throws {
    let dry = try await weightfs("pull --dry-run \(name)")
    #expect(dry.output.contains("3000004 of 3000004 bytes to fetch"), "\(dry.output)")
    #expect(try await weightfs("ls").output.isEmpty, "a dry run records nothing")
    let pulled = try await weightfs("pull \(name)")
    #expect(pulled.status == 0, "\(pulled.error)")
    registry.server.forgetRequests()
    let again = try await weightfs("pull \(name)")
    #expect(again.status == 0)
    #expect(registry.blobRequests.isEmpty)
    let listed = try await weightfs("ls")
    #expect(listed.output.contains("100%") && listed.output.contains(name), "\(listed.output)")
    registry.server.stop()
    let offline = try await weightfs("cat --offline \(name) model.gguf | sha256sum")
    #expect(offline.output.hasPrefix(Verification.digest(of: model).hex), "\(offline.error)")
  }

  @Test func aTerminalSeesProgressAndAPipeSeesLines() async throws {
    let command = "'\(MountProcess.program)' pull --registry-root '\(folder.path("root"))' \(name)"
    let terminal = try await Command.shell(#"script -qec "\#(command)" /dev/null | cat -v"#)
    #expect(terminal.output.contains("^M^[[K"), "\(terminal.output)")
    #expect(terminal.output.contains("(100%)"))
    let pipe = try await weightfs("pull \(name)", root: "other")
    #expect(pipe.error.contains("(100%)"))
    #expect(!pipe.error.contains("\u{1b}"))
  }

  @Test func oneFailureDoesNotKeepTheOthersFromBeingPulled() async throws {
    let result = try await weightfs("pull \(registry.host)/acme/none:x \(name)")
    #expect(result.status == 3)
    #expect(result.output.contains(name))
  }

  @Test func lsInspectAndPathTellWhatIsThere() async throws {
    let listed = try await weightfs("ls \(name)")
    #expect(listed.output.split(separator: "\n").count == 3)
    #expect(listed.output.contains("3000000  remote    model.gguf"), "\(listed.output)")
    let inspected = try await weightfs("inspect --json \(name)")
    struct Report: Decodable {
      struct File: Decodable {
        let path: String
        let size: Int64
        let blob: String
      }
      let digest: String
      let files: [File]
    }
    let report = try JSONDecoder().decode(Report.self, from: Data(inspected.output.utf8))
    #expect(report.files.map(\.path) == ["config.json", "mmproj.gguf", "model.gguf"])
    #expect(report.files.last?.blob == "\(Verification.digest(of: model))")
    #expect(try await weightfs("inspect \(name)").output.contains("digest         \(report.digest)"))
    let mount = try await MountProcess(folder)
    let at = mount.mountPoint
    #expect(try await weightfs("path --mountpoint \(at) \(name)").output == "\(at)/\(name)/model.gguf\n")
    #expect(
      try await weightfs("path --mmproj --mountpoint \(at)/ \(name)").output == "\(at)/\(name)/mmproj.gguf\n"
    )
    let plain = name.replacingOccurrences(of: ":", with: "__")
    #expect(
      try await weightfs("path --no-colon --mountpoint \(at) \(name)").output == "\(at)/\(plain)/model.gguf\n"
    )
  }

  @Test func catWritesVerifiedBytesAndEndsWithItsReader() async throws {
    let result = try await weightfs("cat \(name) model.gguf | sha256sum")
    #expect(result.output.hasPrefix(Verification.digest(of: model).hex), "\(result.error)")
    let cut = try await weightfs("cat \(name) model.gguf | head -c 10 | wc -c")
    #expect(cut.output == "10\n")
    #expect(cut.error.isEmpty, "\(cut.error)")
  }

  @Test func mountRefusesFilesAndLivingMountsAndReplacesDeadOnes() async throws {
    try folder.write([1], to: "file")
    let file = try await weightfs("mount '\(folder.path("file"))'")
    #expect(file.status == 1)
    #expect(file.error.contains("is not a directory"), "\(file.error)")
    let mount = try await MountProcess(folder)
    let twice = try await weightfs("mount '\(mount.mountPoint)'")
    #expect(twice.error.contains("already mounted there"), "\(twice.error)")
    kill(mount.process, SIGKILL)
    #expect(await eventually { kill(mount.process, 0) != 0 })
    let again = try await weightfs("mount '\(mount.mountPoint)'")
    #expect(again.status == 0, "\(again.error)")
    #expect(try await weightfs("exists \(name)").status == 0)
    let unmounted = try await Command.run([MountProcess.program, "unmount", mount.mountPoint])
    #expect(unmounted.status == 0, "\(unmounted.error)")
    #expect(try await Command.run([MountProcess.program, "unmount", mount.mountPoint]).status == 3)
  }
}
