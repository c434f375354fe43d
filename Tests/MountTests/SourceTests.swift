import Foundation
import TestSupport
import Testing

/// Layouts on this machine, in every form that skopeo and docker write.
@Suite(.serialized) struct SourceTests {
  private let folder: TemporaryFolder
  private static let model = ModelFile.gguf(200_000, seed: 10)

  init() async throws {
    folder = try TemporaryFolder()
    var tar = TarMaker()
    tar.add("models/model.gguf", content: Self.model)
    try LayoutMaker.writeImage(folder, "oci", layer: tar.finished, reference: "v1")
    let made = try await Command.shell(
      """
      cd '\(folder.path)'
      skopeo copy -q oci:oci:v1 dir:dir && skopeo copy -q oci:oci:v1 docker-archive:docker.tar:acme/car:v1 &&
      skopeo copy -q oci:oci:v1 oci-archive:oci.tar:v1 && gzip -k oci.tar && zstd -q -k oci.tar && gzip -k docker.tar &&
      ln -s oci.tar.gz link
      """
    )
    try #require(made.status == 0, "\(made.error)")
  }

  @Test(arguments: [
    "oci:oci:v1", "dir:dir", "docker-archive:docker.tar", "docker-archive:docker.tar:docker.io/acme/car:v1",
    "oci-archive:oci.tar:v1", "oci-archive:oci.tar.gz", "oci-archive:oci.tar.zst:v1",
    "docker-archive:docker.tar.gz", "./oci", "./dir", "./docker.tar", "./oci.tar", "./oci.tar.gz", "./link",
  ])
  func everyFormOpens(_ source: String) async throws {
    let listed = try await WeightfsCommand.run("ls \(source)", in: folder)
    #expect(listed.status == 0 && listed.output.contains("model.gguf"), "\(listed.output)\(listed.error)")
    try folder.write(Self.model, to: "expected")
    let same = try await WeightfsCommand.run("cat \(source) model.gguf | cmp - expected", in: folder)
    #expect(same.status == 0, "\(same.error)")
  }

  @Test func aCompressedArchiveIsMountedAndDecompressedOnce() async throws {
    try folder.write(Self.model, to: "expected")
    for _ in 0..<2 {
      let mount = try await MountProcess(folder, source: folder.path("oci.tar.gz"))
      let read = try await Command.shell("cmp '\(mount.path("model.gguf"))' '\(folder.path("expected"))'")
      #expect(read.status == 0, "\(read.error)\(mount.messages)")
      #expect(await mount.unmount())
      #expect(folder.files().filter { $0.hasPrefix("root/.weightfs/blobs/sha256/") }.count <= 2)
    }
  }

  @Test func anEntryThatIsNotThereIsAnsweredWithThoseThatAre() async throws {
    for source in ["oci:oci:v2", "oci-archive:oci.tar:v2", "oci:oci:@7"] {
      let result = try await WeightfsCommand.run("ls \(source)", in: folder)
      #expect(result.status == 3, "\(source): \(result.error)")
      #expect(result.error.contains("Name one of them: v1"), "\(source): \(result.error)")
    }
    for (source, reason) in [
      ("dir:oci", "dir:"), ("oci:dir", "oci-dir"), ("./none", "does not exist"), ("./root", "index.json"),
    ] {
      let result = try await WeightfsCommand.run("ls \(source)", in: folder)
      #expect(result.status != 0 && result.error.contains(reason), "\(source): \(result.error)")
    }
  }

  @Test func aDamagedCompressedArchiveIsAClearError() async throws {
    let bytes = try folder.read("oci.tar.gz")
    try folder.write(Array(bytes.prefix(bytes.count / 2)), to: "half.tar.gz")
    let result = try await WeightfsCommand.run("ls ./half.tar.gz", in: folder)
    #expect(result.status == 6 && result.error.contains("before its own end"), "\(result.error)")
  }

  @Test func loadTakesTheSameForms() async throws {
    for source in ["dir", "oci.tar.gz", "docker.tar.gz"] {
      let name = "localhost/acme/\(source.filter(\.isLetter)):v1"
      let loaded = try await WeightfsCommand.run("load --as \(name) \(source)", in: folder)
      #expect(loaded.status == 0, "\(source): \(loaded.error)")
      let listed = try await WeightfsCommand.run("ls --offline \(name)", in: folder)
      #expect(listed.output.contains("model.gguf"), "\(listed.error)")
    }
  }
}
