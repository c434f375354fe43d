import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Layouts and archives of other tools, mounted separately and in the tree.
@Suite(.serialized) struct LayoutTests {
  private let folder: TemporaryFolder
  private let model = SeededGenerator.bytes(20 << 20, seed: 21)

  init() throws { folder = try TemporaryFolder() }

  private func run(_ script: String) async throws -> Command.Result {
    let result = try await Command.shell(
      script,
      seconds: 100,
      environment: ["STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"]
    )
    try #require(result.status == 0, "\(result.output)\(result.error)")
    return result
  }

  @Test func anArchiveOfSkopeoMountsAndReadsRight() async throws {
    try LayoutMaker.write(
      folder,
      "layout",
      layers: [LayoutMaker.file("model.gguf", model), LayoutMaker.file("a/b", [1])],
      reference: "v1"
    )
    _ = try await run(
      "skopeo copy -q --preserve-digests oci:\(folder.path("layout")):v1 oci-archive:\(folder.path("a.tar")):v1"
    )
    let mount = try await MountProcess(folder, source: "oci-archive:\(folder.path("a.tar"))")
    try folder.write(model, to: "model")
    let result = try await run(
      "cmp '\(mount.path("model.gguf"))' '\(folder.path("model"))' && od -An -tx1 '\(mount.path("a/b"))' && ls '\(mount.mountPoint)'"
    )
    #expect(result.output == " 01\na\nmodel.gguf\n")
    let unpacked = folder.files().filter { $0.hasPrefix("root/.weightfs/blobs/sha256/") }
    #expect(unpacked.isEmpty, "nothing is unpacked")
  }

  @Test func anArchiveOfBuildahMountsAndReadsRight() async throws {
    try folder.write(model, to: "context/models/model.gguf")
    _ = try await run(
      """
      cd '\(folder.path)' && export HOME='\(folder.path("home"))'; mkdir -p home
      c=$(buildah --root '\(folder.path("storage"))' --runroot '\(folder.path("run"))' from scratch)
      buildah --root '\(folder.path("storage"))' --runroot '\(folder.path("run"))' copy -q $c context/models /models
      buildah --root '\(folder.path("storage"))' --runroot '\(folder.path("run"))' commit -q --disable-compression $c oci-archive:'\(folder.path("b.tar"))':v1
      """
    )
    let mount = try await MountProcess(folder, source: "oci-archive:\(folder.path("b.tar")):v1")
    let result = try await run(
      "cmp '\(mount.path("model.gguf"))' '\(folder.path("context/models/model.gguf"))'; find '\(mount.mountPoint)' -type f | wc -l"
    )
    #expect(result.output == "1\n")
  }

  @Test func aModelcarInARegistryReadsItsHeadersAloneForALs() async throws {
    try folder.write(model, to: "in/models/big.gguf")
    try folder.write([1, 2, 3], to: "in/models/small.txt")
    _ = try await run(
      "cd '\(folder.path("in"))' && ln -s big.gguf models/link && tar --sort=name -cf ../layer.tar models"
    )
    let registry = try FaultyRegistry()
    var layer = registry.add(blob: try folder.read("layer.tar"))
    layer.mediaType = MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar")
    var config = registry.add(blob: LayoutMaker.imageConfig.bytes)
    config.mediaType = .imageConfig
    registry.add(
      document: try JSONDocument.encode(Manifest(config: config, layers: [layer])),
      repository: "acme/car",
      tags: ["t"]
    )
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let tag = mount.path("\(registry.host)/acme/car/t")
    let listed = try await run("ls '\(tag)'")
    #expect(listed.output == "big.gguf\nlink\nsmall.txt\n")
    let fetched = registry.blobRequests.filter { $0.path.hasSuffix(layer.digest.hex) }.reduce(0) {
      $0 + ($1.range(size: Int(layer.size))?.count ?? Int(layer.size))
    }
    #expect(fetched <= 400_000, "\(fetched) bytes for the headers")
    let read = try await run(
      "cmp '\(tag)/link' '\(folder.path("in/models/big.gguf"))' && od -An -tx1 '\(tag)/small.txt' && readlink '\(tag)/link'"
    )
    #expect(read.output == " 01 02 03\nbig.gguf\n")
  }

  @Test func whatWeWroteIsReadBySkopeo() async throws {
    let docker = try await DockerRegistry()
    try LayoutMaker.write(folder, "layout", layers: [LayoutMaker.file("model.gguf", model)])
    try await LayoutMaker.push(folder.path("layout"), to: "\(docker.host)/acme/m:t")
    let mount = try await MountProcess(folder)
    _ = try await run("cat '\(mount.path("\(docker.host)/acme/m:t/model.gguf"))' | sha256sum")
    let written = folder.path("root/\(docker.host.replacingOccurrences(of: ":", with: "__"))/acme/m/__t")
    let digest = Verification.digest(of: model)
    #expect(
      await eventually { FileManager.default.fileExists(atPath: "\(written)/blobs/sha256/\(digest.hex)") }
    )
    let result = try await run(
      "skopeo copy -q oci:\(written) dir:\(folder.path("copy")) && sha256sum <'\(folder.path("copy"))/\(digest.hex)'"
    )
    #expect(result.output.hasPrefix(digest.hex))
    let links = try await run("stat -c %h '\(written)/blobs/sha256/\(digest.hex)'")
    #expect(links.output == "2\n", "the layout's blob is a link to the pool's")
  }

  @Test func aDamagedBlobOfThePoolIsFetchedAgain() async throws {
    let registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": model], repository: "acme/m", tag: "t")
    let name = "\(registry.host)/acme/m:t/model.gguf"
    let first = try await MountProcess(folder, name: "first")
    _ = try await run("cat '\(first.path(name))' >/dev/null")
    let digest = Verification.digest(of: model)
    let blob = folder.path("root/.weightfs/blobs/sha256/\(digest.hex)")
    #expect(await eventually { FileManager.default.fileExists(atPath: blob) })
    #expect(try await first.attribute("state", of: name) == "complete")
    _ = try await run(
      "'\(MountProcess.program)' unmount '\(first.mountPoint)'; chmod u+w '\(blob)'; printf XX | dd of='\(blob)' bs=1 seek=500 conv=notrunc status=none"
    )
    let second = try await MountProcess(folder, name: "second")
    let result = try await run("sha256sum <'\(second.path(name))'")
    #expect(result.output.hasPrefix(digest.hex), "\(second.messages)")
  }

  @Test func mountAndFstabMountOneArtifactAndTheTree() async throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    try LayoutMaker.write(folder, "layout", layers: [LayoutMaker.file("x", [7])])
    for name in ["one", "tree"] {
      try FileManager.default.createDirectory(atPath: folder.path(name), withIntermediateDirectories: true)
    }
    // The same layout as after `make install`.
    _ = try await run(
      """
      mkdir -p '\(folder.path("prefix/bin"))' '\(folder.path("prefix/sbin"))'
      ln -s '\(MountProcess.program)' '\(folder.path("prefix/bin/weightfs"))'
      cp '\(root.path)/mount-helpers/mount.weightfs' '\(folder.path("prefix/sbin"))'
      """
    )
    let helper = folder.path("prefix/sbin/mount.weightfs")
    let options =
      "rw,noauto,_netdev,registry_root=\(folder.path("root")),log_file=\(folder.path("log")),umask=022"
    let result = try await Command.shell(
      """
      '\(helper)' oci:\(folder.path("layout")) '\(folder.path("one"))' -o '\(options)' || exit 9
      '\(helper)' models '\(folder.path("tree"))' -o '\(options),offline,fill=demand' || exit 8
      od -An -tx1 '\(folder.path("one"))/x'; findmnt -n -o SOURCE '\(folder.path("tree"))'
      '\(helper)' models '\(folder.path("tree"))' -o nonsense=1; echo $?
      '\(helper)' models '\(folder.path("absent"))' -o '\(options)' 2>/dev/null; echo $?
      '\(MountProcess.program)' unmount '\(folder.path("one"))'; '\(MountProcess.program)' unmount '\(folder.path("tree"))'; echo $?
      """
    )
    #expect(result.output == " 07\nweightfs:\(folder.path("root"))\n1\n32\n0\n", "\(result.error)")
  }
}
