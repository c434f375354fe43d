import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Names match the content of a file, and a printed path exists.
@Suite(.serialized) struct NameTruthTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private static let title = "org.opencontainers.image.title"
  private static let oras = "application/vnd.oci.image.layer.v1.tar"
  private static let model = ModelFile.gguf(300_000, seed: 3)
  private static let tar: [UInt8] = {
    var tar = TarMaker()
    tar.add("model.safetensors", content: SeededGenerator.bytes(2_000_000, seed: 4))
    return tar.finished
  }()

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
  }

  private func add(_ tag: String, _ layers: [(bytes: [UInt8], type: String, name: String)]) throws {
    _ = try registry.add(
      layers: layers.map { ($0.bytes, $0.type, [Self.title: $0.name]) },
      repository: "acme/m",
      tag: tag
    )
  }

  private func digest(_ bytes: [UInt8]) -> Digest { Verification.digest(of: bytes) }

  @Test func anArchiveUnderTheNameOfAModelIsOpened() async throws {
    try add("t", [(Self.tar, Self.oras, "model.safetensors"), (Self.model, Self.oras, "a.gguf")])
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let path = mount.path("\(registry.host)/acme/m/t")
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: path).sorted() == ["a.gguf", "model.safetensors"]
    )
    // At most the first block of each of the two layers was requested.
    let asked = registry.blobRequests.compactMap { $0.range(size: 300_000)?.count }
    #expect(asked.count <= 2)
    let member = SeededGenerator.bytes(2_000_000, seed: 4)
    let attributes = try FileManager.default.attributesOfItem(atPath: "\(path)/model.safetensors")
    #expect(attributes[.size] as? Int == member.count, "the member, not the tar")
  }

  @Test func anArchiveThatCannotBeOpenedIsShownUnderItsDigestAndToldOf() async throws {
    let damaged = Array(Self.tar.prefix(1_000_000))
    try add("t", [(damaged, Self.oras, "model.safetensors"), (Self.model, Self.oras, "a.gguf")])
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let path = mount.path("\(registry.host)/acme/m/t")
    let raw = "sha256-\(digest(damaged).hex)"
    #expect(try FileManager.default.contentsOfDirectory(atPath: path).sorted() == ["a.gguf", raw])
    #expect(FileManager.default.contents(atPath: "\(path)/\(raw)") == Data(damaged))
    #expect(!FileManager.default.fileExists(atPath: "\(path)/model.safetensors"))
    #expect(mount.messages.contains("model.safetensors"))
    #expect(mount.messages.contains(raw))
    let inspect = try await WeightfsCommand.run("inspect --json \(registry.host)/acme/m:t", in: folder)
    #expect(inspect.output.contains("'model.safetensors' is shown as \(raw)"), "\(inspect.output)")
    let cat = try await WeightfsCommand.run("cat \(registry.host)/acme/m:t model.safetensors", in: folder)
    #expect(cat.status == 3)
    #expect(cat.error.contains(raw))
  }

  @Test func theListingReadsNoBytesOfOtherTypes() async throws {
    try add(
      "t",
      [(Self.tar, "application/octet-stream", "model.safetensors"), (Self.model, Self.oras, "model.bin")]
    )
    let mount = try await MountProcess(folder)
    let path = mount.path("\(registry.host)/acme/m/t")
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: path).sorted() == [
        "model.bin", "model.safetensors",
      ]
    )
    #expect(registry.blobRequests.filter { !$0.path.hasSuffix(digest(Array("{}".utf8)).hex) }.isEmpty)
    // The first bytes are compared with the name before a reader gets them.
    let read = try await Command.shell("head -c 100 '\(path)/model.safetensors'")
    #expect(read.status != 0)
    #expect(read.error.contains("Input/output error"))
    // The first operation that fails is logged, and the first open after it, however many follow.
    _ = try await Command.shell("for n in 1 2 3 4 5 6; do head -c 100 '\(path)/model.safetensors'; done")
    let told = mount.messages.split(separator: "\n").filter { $0.contains("does not match the file name") }
    #expect((1...2).contains(told.count), "\(mount.messages)")
  }

  @Test func pathFailsForWhatCannotBeOpened() async throws {
    let damaged = Array(Self.tar.prefix(1_000_000))
    try add("t", [(damaged, "application/vnd.cncf.model.weight.v1.tar", "model.safetensors")])
    let mount = try await MountProcess(folder)
    let result = try await WeightfsCommand.run(
      "path --mountpoint \(mount.mountPoint) \(registry.host)/acme/m:t",
      in: folder
    )
    #expect(result.status == 3)
    #expect(result.output.isEmpty)
    for part in ["model.safetensors", "sha256-\(digest(damaged).hex)", "vnd.cncf.model.weight.v1.tar"] {
      #expect(result.error.contains(part), "\(result.error)")
    }
  }

  @Test func pathPrintsOnlyWhatExists() async throws {
    try add("t", [(Self.model, "application/octet-stream", "model.gguf")])
    let name = "\(registry.host)/acme/m:t"
    let unmounted = try await WeightfsCommand.run(
      "path --mountpoint \(folder.path("none")) \(name)",
      in: folder
    )
    #expect(unmounted.status == 3)
    #expect(unmounted.output.isEmpty)
    #expect(unmounted.error.contains("weightfs mount"))
    let mount = try await MountProcess(folder)
    for words in ["path \(name)", "path --no-colon \(name)"] {
      let mounted = try await WeightfsCommand.run(words, in: folder)
      let printed = mounted.output.split(separator: "\n").first.map(String.init) ?? ""
      #expect(printed.hasPrefix(mount.mountPoint), "\(mounted.error)")
      #expect(FileManager.default.contents(atPath: printed) == Data(Self.model))
    }
  }
}
