import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Selection of layout entries by the user, and archives with missing blobs.
@Suite(.serialized) struct LayoutEntryTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func weightfs(_ words: String, root: String = "root") async throws -> Command.Result {
    try await WeightfsCommand.run(words, in: folder, root: root)
  }

  /// Writes a layout of two artifacts, `one` and `two`.
  private func writeTwo() throws -> [Descriptor] {
    let one = try LayoutMaker.write(folder, "l", layers: [LayoutMaker.file("a", [1])], reference: "one")
    let two = try LayoutMaker.write(folder, "l", layers: [LayoutMaker.file("b", [2])], reference: "two")
    try folder.write(try JSONDocument.encode(Index(manifests: [one, two])), to: "l/index.json")
    return [one, two]
  }

  @Test func everySpellingOfAnEntryLeadsToIt() async throws {
    let entries = try writeTwo()
    for (words, expected) in [
      ("oci:l:one", "a"), ("oci:l:@0", "a"), ("oci:l:@1", "b"), ("oci:l:\(entries[1].digest)", "b"),
      ("oci:l@\(entries[1].digest)", "b"), ("oci:l:@\(entries[0].digest)", "a"),
      ("oci:l:one@\(entries[0].digest)", "a"),
    ] {
      let listed = try await weightfs("inspect --json \(words)")
      #expect(
        listed.output.contains("\"path\":\"\(expected)\""),
        "\(words): \(listed.output)\(listed.error)"
      )
    }
    for (words, status) in [
      ("oci:l:@2", 3), ("oci:l:three", 3), ("oci:l", 1), ("oci:@\(entries[0].digest)", 64),
    ]
      as [(String, Int32)]
    {
      let refused = try await weightfs("inspect \(words)")
      #expect(refused.status == status, "\(words): \(refused.status) \(refused.error)")
    }
    let mount = try await MountProcess(folder, source: "oci:\(folder.path("l"))@\(entries[1].digest)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: mount.mountPoint) == ["b"])
  }

  @Test func contentInADescriptorIsServed() async throws {
    let content = Array("inline".utf8)
    var layer = Descriptor(
      mediaType: MediaType(rawValue: "text/plain"),
      digest: Verification.digest(of: content),
      size: Int64(content.count),
      annotations: ["org.opencontainers.image.title": "note"]
    )
    layer.data = content
    var lie = layer
    lie.digest = Verification.digest(of: [9])
    lie.annotations["org.opencontainers.image.title"] = "lie"
    let manifest = Manifest(artifactType: MediaType(rawValue: "a/b"), config: nil, layers: [layer, lie])
    let bytes = try JSONDocument.encode(manifest)
    let digest = Verification.digest(of: bytes)
    try folder.write(bytes, to: "l/blobs/sha256/\(digest.hex)")
    var entry = Descriptor(mediaType: .imageManifest, digest: digest, size: Int64(bytes.count))
    entry.annotations["org.opencontainers.image.ref.name"] = "localhost/a/b:t"
    try folder.write(try JSONDocument.encode(Index(manifests: [entry])), to: "l/index.json")
    try folder.write(Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8), to: "l/oci-layout")
    let alone = try await MountProcess(folder, name: "alone", source: "oci:\(folder.path("l"))")
    let tree = try await MountProcess(
      folder,
      name: "tree",
      root: "other",
      ["--offline", "--additional-store", folder.path("l")]
    )
    for path in [alone.path("note"), tree.path("localhost/a/b:t/note")] {
      let read = try await Command.shell("cat '\(path)'")
      #expect(read.output == "inline", "\(path): \(read.error)")
      // A blob that does not match its digest is not used.
      let lies = try await Command.shell("cat '\((path as NSString).deletingLastPathComponent)/lie'")
      #expect(lies.status != 0)
      #expect(lies.output.isEmpty)
    }
    #expect(try await alone.attribute("state", of: "note") == "complete")
  }

  @Test func anArchiveThatLacksAnImageIsRefusedWhole() async throws {
    let entries = try writeTwo()
    var named = entries
    named[0].annotations["org.opencontainers.image.ref.name"] = "localhost/a:one"
    named[1].annotations["org.opencontainers.image.ref.name"] = "localhost/a:two"
    try folder.write(try JSONDocument.encode(Index(manifests: named)), to: "l/index.json")
    try FileManager.default.removeItem(atPath: folder.path("l/blobs/sha256/\(entries[1].digest.hex)"))
    _ = try await Command.shell("cd '\(folder.path("l"))' && tar cf ../l.tar .")
    for words in ["load l", "load l.tar", "load - <l.tar"] {
      let refused = try await weightfs(words)
      #expect(refused.status == 3, "\(words): \(refused.status) \(refused.error)")
      #expect(refused.output.isEmpty, "\(words): \(refused.output)")
      #expect(try await weightfs("ls").output.isEmpty, "\(words)")
    }
  }

  @Test(
    arguments: [
      ("[]", 3), (#"[{"Config":"c.json","RepoTags":["a/b:c"],"Layers":[]}]"#, 6),
      (#"[{"Config":"c.json","RepoTags":["a/b:c"],"Layers":null}]"#, 6),
      (
        #"[{"Config":"c.json","RepoTags":["a/b:c"],"Layers":["l.tar"]},"#
          + #"{"Config":"d.json","RepoTags":["a/b:d"],"Layers":["l.tar"]}]"#, 6
      ),
    ] as [(String, Int32)]
  )
  func dockerArchivesWithoutTheirLayersAreRefused(_ list: String, _ status: Int32) async throws {
    try folder.write(Array(list.utf8), to: "d/manifest.json")
    try folder.write(Array("{}".utf8), to: "d/c.json")
    var layer = TarMaker()
    layer.add("model.gguf", content: [1])
    try folder.write(layer.finished, to: "d/l.tar")
    _ = try await Command.shell("cd '\(folder.path("d"))' && tar cf ../d.tar *")
    let refused = try await weightfs("load d.tar")
    #expect(refused.status == status, "\(refused.status) \(refused.error)")
    #expect(refused.output.isEmpty)
    #expect(try await weightfs("ls").output.isEmpty)
  }
}
