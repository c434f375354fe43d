import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Programs that share the local registry's formats: podman, ommx 2 and ommx 3 (`make setup` installs them).
@Suite(.serialized) struct PeerTests {
  private let folder: TemporaryFolder
  private let bytes = SeededGenerator.bytes(300_000, seed: 111)

  init() throws { folder = try TemporaryFolder() }

  /// Returns the Python of a virtual environment that `make setup` created beside the build.
  private static func python(_ name: String) -> String {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    return root.appending(path: ".build/peers/\(name)/bin/python").path
  }

  private func weightfs(_ words: String) async throws -> String {
    let result = try await WeightfsCommand.run(words, in: folder)
    try #require(result.status == 0, "\(words): \(result.output)\(result.error)")
    return result.output
  }

  @discardableResult
  private func run(_ environment: String, _ script: String, root: String) async throws -> String {
    try folder.write(Array(script.utf8), to: "script.py")
    let result = try await Command.shell(
      "cd '\(folder.path)' && '\(Self.python(environment))' script.py",
      environment: ["HOME": folder.path, "OMMX_LOCAL_REGISTRY_ROOT": folder.path(root)]
    )
    try #require(result.status == 0, "\(result.output)\(result.error)")
    return result.output
  }

  private static let build = """
    from ommx.artifact import ArtifactBuilder
    data = open('data', 'rb').read()
    for builder in (ArtifactBuilder.new('ghcr.io/acme/two:v1'), ArtifactBuilder.new_archive('two.ommx', 'ghcr.io/acme/two:v2')):
        builder.add_layer('application/octet-stream', data, {'org.opencontainers.image.title': 'model.bin'})
        builder.build()
    """

  private static let check = """
    import sys
    from ommx.artifact import Artifact
    data = open('data', 'rb').read()
    for artifact in (Artifact.load('ghcr.io/acme/back:v1'), Artifact.load_archive('back.ommx')):
        found = [artifact.get_blob(layer) for layer in artifact.layers]
        assert found == [data], [len(f) for f in found]
        print(artifact.image_name)
    """

  @Test func whatOMMX2WroteIsMountedAndWhatWeWroteItLoads() async throws {
    try folder.write(bytes, to: "data")
    // In the tree of weightfs, as ommx uses the same paths.
    try await run("ommx2", Self.build, root: "root")
    let mount = try await MountProcess(folder, ["--offline"])
    let tree = mount.path("ghcr.io/acme/two/v1/model.bin")
    #expect(try await Command.shell("cmp '\(tree)' '\(folder.path("data"))'").status == 0)
    // As a file, and as a file in the tree.
    _ = try await weightfs("load two.ommx --format oci-archive")
    #expect(folder.has("root/ghcr.io/acme/two/__v2.ommx"))
    let archived = mount.path("ghcr.io/acme/two/v2/model.bin")
    #expect(try await Command.shell("cmp '\(archived)' '\(folder.path("data"))'").status == 0)
    let direct = try await MountProcess(
      folder,
      name: "direct",
      source: "oci-archive:\(folder.path("two.ommx"))"
    )
    #expect(try await Command.shell("cmp '\(direct.path("model.bin"))' '\(folder.path("data"))'").status == 0)
    // The other direction: an oci-dir in the tree and an archive by its path, both written by weightfs.
    _ = try await weightfs("tag ghcr.io/acme/two:v1 ghcr.io/acme/back:v1")
    _ = try await weightfs("save ghcr.io/acme/back:v1 back.ommx")
    let names = try await run("ommx2", Self.check, root: "root")
    #expect(names.contains("ghcr.io/acme/back:v1"), "\(names)")
    let digests = try await weightfs("ls")
      .split(separator: "\n").compactMap { $0.split(separator: " ").last }
    #expect(Set(digests).count == 1, "one manifest in every form: \(digests)")
  }

  @Test func theStoreOfOMMX3IsReadWhileItIsInUse() async throws {
    try folder.write(bytes, to: "data")
    try await run(
      "ommx3",
      """
      from ommx.artifact import ArtifactDraft
      draft = ArtifactDraft.new('ghcr.io/acme/three:v1')
      draft.add_layer('application/octet-stream', open('data', 'rb').read(), {'org.opencontainers.image.title': 'model.bin'})
      draft.commit()
      """,
      root: "store"
    )
    let before = try await Command.shell(
      "cd '\(folder.path("store"))' && find . -printf '%p %s %T@\\n' | sort"
    ).output
    let mount = try await MountProcess(folder, ["--offline", "--additional-store", folder.path("store")])
    let file = mount.path("ghcr.io/acme/three/v1/model.bin")
    let result = try await Command.shell(
      "cmp '\(file)' '\(folder.path("data"))' && ls '\(mount.path("ghcr.io/acme"))'"
    )
    #expect(result.status == 0 && result.output == "three\n", "\(result)\(mount.messages)")
    let after = try await Command.shell(
      "cd '\(folder.path("store"))' && find . -printf '%p %s %T@\\n' | sort"
    ).output
    #expect(after == before, "nothing is created or written in it, not even files of SQLite")
  }

  @Test func podmanLoadsWhatWeSavedAndWeLoadWhatItSaved() async throws {
    let layer = try await Command.shell(
      "cd '\(folder.path)' && mkdir -p in/models && (printf GGUF; head -c 200000 /dev/urandom) >in/models/w.gguf && tar -C in -cf l.tar models"
    )
    try #require(layer.status == 0)
    let tar = try folder.read("l.tar")
    let written = try LayoutMaker.writeImage(folder, "image", layer: tar, reference: "localhost/acme/car:1")
    _ = try await weightfs("load image")
    _ = try await weightfs("save localhost/acme/car:1 a.tar")
    _ = try await weightfs("save localhost/acme/car:1 --format oci-dir d")
    // podman requires a short path for its runtime files.
    let podman =
      "podman --root '\(folder.path("storage"))' --runroot \"$short\" --storage-driver vfs --events-backend none"
    let loaded = try await Command.shell(
      """
      short=$(mktemp -d /tmp/wfs.XXXXXX); trap 'rm -rf "$short"' EXIT
      cd '\(folder.path)' && export XDG_RUNTIME_DIR='\(folder.path)' HOME='\(folder.path)' && \(podman) load -q -i a.tar && \(podman) pull -q oci:d &&
      \(podman) image inspect localhost/acme/car:1 --format '{{.Digest}}' && \(podman) save -q --uncompressed --format oci-archive -o back.tar localhost/acme/car:1
      """,
      seconds: 100
    )
    try #require(loaded.status == 0, "\(loaded.output)\(loaded.error)")
    #expect(loaded.output.contains("\(written.digest)"), "podman has the same digest: \(loaded.output)")
    _ = try await weightfs("load back.tar --as localhost/acme/back:1")
    let mount = try await MountProcess(folder, ["--offline"])
    let back = mount.path("localhost/acme/back/1")
    let compared = try await Command.shell(
      "ls '\(back)' && cmp '\(back)/w.gguf' '\(folder.path("in/models/w.gguf"))'"
    )
    #expect(compared.status == 0, "\(compared.output)\(compared.error)\(mount.messages)")
  }
}
