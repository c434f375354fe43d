import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Complete artifacts are imported to and exported from the local registry, with the programs that write and
/// read them.
@Suite(.serialized) struct ArtifactCommandTests {
  fileprivate let folder: TemporaryFolder
  fileprivate let registry: FaultyRegistry
  fileprivate let model = SeededGenerator.bytes(3_000_000, seed: 41)

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(
      files: ["model.gguf": model, "config.json": Array("{}".utf8)],
      repository: "acme/m",
      tag: "t"
    )
  }

  fileprivate var name: String { "\(registry.host)/acme/m:t" }
  fileprivate var place: String {
    "root/\(registry.host.replacingOccurrences(of: ":", with: "__"))/acme/m/__t"
  }

  private func weightfs(_ words: String, root: String = "root") async throws -> Command.Result {
    try await WeightfsCommand.run(words, in: folder, root: root)
  }

  @discardableResult
  private func run(_ words: String, root: String = "root") async throws -> String {
    let result = try await weightfs(words, root: root)
    try #require(result.status == 0, "\(words): \(result.error)")
    return result.output
  }

  @discardableResult
  fileprivate func shell(_ script: String) async throws -> String {
    let result = try await Command.shell("cd '\(folder.path)' && \(script)", seconds: 100)
    try #require(result.status == 0, "\(script): \(result.output)\(result.error)")
    return result.output
  }

  @Test func savingFetchesWhatIsMissingAndGivesTheSameBytesEachTime() async throws {
    try await run("save \(name) a.tar")
    #expect(!registry.blobRequests.isEmpty)
    registry.server.forgetRequests()
    try await run("save \(name) b.tar")
    #expect(registry.blobRequests.isEmpty)
    try await run("save \(name) - >c.tar")
    try await run("save \(name) d.tar", root: "other")
    try await shell("cmp a.tar b.tar && cmp a.tar c.tar && cmp a.tar d.tar")
    let members = try await shell("tar tf a.tar").split(separator: "\n").map(String.init)
    #expect(members.prefix(2) == ["oci-layout", "index.json"])
    #expect(members.dropFirst(2).elementsEqual(members.dropFirst(2).sorted()))
    let again = try await weightfs("save \(name) a.tar")
    #expect(again.status == 1 && again.error.contains("exists already"), "\(again.error)")
    #expect(try await run("save \(name)").contains("m-t.tar"))
    #expect(folder.has("m-t.tar"))
  }

  @Test func skopeoReadsWhatWasSavedWithTheSameDigest() async throws {
    let digest = try await run("save \(name) a.tar").split(separator: "\t")[1]
    try await run("save \(name) --format oci-dir d")
    for source in ["oci-archive:a.tar", "oci:d"] {
      try await shell("rm -rf copy && skopeo copy -q --preserve-digests \(source) dir:copy")
      #expect("sha256:\(try await shell("sha256sum <copy/manifest.json").prefix(64))" == digest)
      try await shell("cmp copy/\(Verification.digest(of: model).hex) '\(folder.write(model, to: "model"))'")
    }
  }

  @Test func whatSkopeoWroteIsLoadedAndMounted() async throws {
    try await shell(
      "mkdir -p in/models && (printf GGUF; head -c 200000 /dev/urandom) >in/models/w.gguf && tar -C in -cf l.tar models"
    )
    let layer = try folder.read("l.tar")
    try LayoutMaker.writeImage(folder, "image", layer: layer, reference: "v1")
    try await shell(
      """
      skopeo copy -q --preserve-digests oci:image:v1 oci-archive:a.tar:v1 && skopeo copy -q oci:image:v1 docker-archive:d.tar:quay.io/acme/car:v2 &&
      skopeo copy -q oci:image:v1 oci:named:quay.io/acme/car:v3
      """
    )
    try await run("load image --as localhost:1/acme/car:1")
    try await run("load a.tar --as localhost:1/acme/car:a --format oci-archive")
    #expect(try await run("load d.tar").contains("quay.io/acme/car:v2"))
    try await run("load - --as localhost:1/acme/car:p <a.tar")
    let unnamed = try await weightfs("load image")
    #expect(unnamed.status == 1 && unnamed.error.contains("--as"), "\(unnamed.error)")
    let mount = try await MountProcess(folder, ["--offline"])
    for path in [
      "localhost:1/acme/car/1", "localhost:1/acme/car/a", "quay.io/acme/car/v2", "localhost:1/acme/car/p",
    ] {
      try await shell("cmp in/models/w.gguf '\(mount.path(path))/w.gguf'")
    }
    #expect(try await run("where localhost:1/acme/car:a").hasPrefix("oci-archive\t"))
    #expect(try await run("where localhost:1/acme/car:1").hasPrefix("oci-dir\t"))
  }

  @Test func whatContradictsItsDigestsIsNotLoaded() async throws {
    try await shell(
      "mkdir -p in/models && head -c 2000 /dev/urandom >in/models/w && tar -C in -cf l.tar models"
    )
    let layer = try folder.read("l.tar")
    try LayoutMaker.writeImage(folder, "image", layer: layer, reference: "v1")
    // A docker-archive has only the digests in its config.
    try await shell(
      """
      skopeo copy -q oci:image:v1 docker-archive:d.tar:quay.io/acme/car:v2 && mkdir d && tar -C d -xf d.tar &&
      chmod -R u+w d && f=$(cd d && find . -type f -name '*.tar' | head -1) && printf x | dd of=d/$f bs=1 seek=1200 conv=notrunc 2>/dev/null &&
      tar -C d -cf e.tar $(ls d)
      """
    )
    // An index with a wrong size of its manifest.
    try await shell(
      #"cp -r image wrong && sed -i 's/"size":\([0-9]*\)/"size":1\1/' wrong/index.json && cmp image/index.json wrong/index.json; test $? = 1"#
    )
    try await run("load d.tar --as localhost:1/good/car:1")
    for source in ["e.tar", "wrong"] {
      let loaded = try await weightfs("load \(source) --as localhost:1/bad/car:1")
      #expect(loaded.status == 6, "\(source): \(loaded.output)\(loaded.error)")
    }
    #expect(try await !run("ls").contains("bad/car"))
  }

  @Test func convertingKeepsTheDigestAndFreesThePool() async throws {
    try await run("pull \(name)")
    let before = try await run("ls")
    try await run("convert \(name) --format oci-archive")
    #expect(folder.has("\(place).ommx") && !folder.has(place))
    #expect(!folder.has("root/.weightfs/blobs/sha256/\(Verification.digest(of: model).hex)"))
    #expect(try await run("cat \(name) model.gguf | sha256sum").hasPrefix(Verification.digest(of: model).hex))
    try await run("convert \(name) --format oci-dir")
    #expect(!folder.has("\(place).ommx") && folder.has("\(place)/index.json"))
    let after = try await run("ls")
    #expect(after.contains(before.split(separator: " ").last ?? "-"))
    #expect(try await run("convert \(name) --format oci-dir").contains("was already"))
    registry.setFault { request, _ in .init(503) }
    #expect(
      try await run("cat --offline \(name) model.gguf | sha256sum").hasPrefix(
        Verification.digest(of: model).hex
      )
    )
  }

  @Test func aPulledArchiveIsReplacedByItsNextVersionInItsFormat() async throws {
    try await run("pull --format oci-archive \(name)")
    #expect(folder.has("\(place).ommx") && !folder.has(place))
    let next = SeededGenerator.bytes(2_000_000, seed: 42)
    try registry.add(files: ["model.gguf": next], repository: "acme/m", tag: "t")
    try await run("pull \(name)")
    #expect(folder.has("\(place).ommx") && !folder.has(place))
    #expect(
      try await run("cat --offline \(name) model.gguf | sha256sum").hasPrefix(
        Verification.digest(of: next).hex
      )
    )
    #expect(folder.files().filter { $0.hasSuffix(".ommx") }.count == 1, "the old version is removed")
    let blobs = folder.files().filter { $0.hasPrefix("root/.weightfs/blobs/sha256/") }
    #expect(blobs.isEmpty, "an archive has its own blobs: \(blobs)")
  }

  @Test func aMovedTagOfAnArchiveIsSeenInAMountAndAfterIt() async throws {
    try await run("pull --format oci-archive \(name)")
    let next = SeededGenerator.bytes(2_000_000, seed: 42)
    try registry.add(files: ["model.gguf": next], repository: "acme/m", tag: "t")
    let mount = try await MountProcess(folder)
    #expect(
      try await shell("sha256sum <'\(mount.path(name))/model.gguf'").hasPrefix(
        Verification.digest(of: next).hex
      )
    )
    let blob = "root/.weightfs/blobs/sha256/\(Verification.digest(of: next).hex)"
    #expect(await eventually { folder.has(blob) })
    #expect(
      try await run("cat --offline \(name) model.gguf | sha256sum").hasPrefix(
        Verification.digest(of: next).hex
      )
    )
  }

  @Test func tagsThatEndLikeArchivesShareNoPath() async throws {
    try await run("pull \(name)")
    try registry.add(files: ["other.bin": [1, 2, 3]], repository: "acme/m", tag: "t.ommx")
    try await run("pull \(name).ommx")
    #expect(folder.has("\(place)/index.json") && folder.has("\(place).ommx.ommx"))
    #expect(try await run("ls \(name)").contains("model.gguf"))
    #expect(try await run("ls \(name).ommx").contains("other.bin"))
    let listed = try await run("ls")
    #expect(listed.contains("\(name) ") && listed.contains("\(name).ommx "), "\(listed)")
  }

  @Test func aTagIsFinalAndKeepsItsBlobsWhenTheOtherGoes() async throws {
    let fresh = try await weightfs("tag \(name) localhost:1/mine/m:1")
    #expect(fresh.status == 3 && fresh.error.contains("pull"), "\(fresh.error)")
    try await run("pull \(name)")
    try await run("tag \(name) localhost:1/mine/m:1")
    try await run("rm \(name)")
    #expect(!folder.has(place))
    #expect(
      try await run("cat --offline localhost:1/mine/m:1 model.gguf | sha256sum").hasPrefix(
        Verification.digest(of: model).hex
      )
    )
    #expect(try await run("ls").split(separator: "\n").count == 1)
    try await run("rm localhost:1/mine/m:1")
    #expect(!folder.files().contains { $0.hasPrefix("root/.weightfs/blobs/sha256/") })
  }

  @Test func lsTellsFormatLastUseAndRealSize() async throws {
    try await run("pull \(name)")
    try await run("tag \(name) localhost:1/mine/m:1")
    let listed = try await run("ls")
    #expect(listed.contains("oci-dir") && listed.contains("100%"), "\(listed)")
    let disk = try await run("ls --disk")
    #expect(disk.contains("total"), "\(disk)")
    let total = try #require(disk.split(separator: "\n").last)
    #expect(total.contains("5.7 MiB") && total.contains("2.9 MiB"), "two artifacts share one blob: \(total)")
  }

  @Test func pinnedArtifactsAreListedAndNotEvicted() async throws {
    try await run("pull \(name)")
    try await run("pin \(name)")
    #expect(try await run("pin") == "\(name)\n")
    let kept = try await weightfs("evict \(name)")
    #expect(kept.output.contains("\t0 bytes freed") && kept.error.contains("pinned"), "\(kept)")
    try await run("unpin \(name)")
    try await run("evict \(name)")
    #expect(!folder.has("root/.weightfs/blobs/sha256/\(Verification.digest(of: model).hex)"))
    #expect(!folder.has("\(place)/blobs/sha256/\(Verification.digest(of: model).hex)"))
    #expect(try await run("cat \(name) model.gguf | sha256sum").hasPrefix(Verification.digest(of: model).hex))
    #expect(try await weightfs("unpin \(name)").status == 3)
  }
}

extension ArtifactCommandTests {
  @Test func whatAMountFillsBecomesAnArchiveWhereThatIsWanted() async throws {
    let mount = try await MountProcess(folder, ["--local-format", "oci-archive"])
    let file = mount.path("\(name)/model.gguf")
    let hex = Verification.digest(of: model).hex
    #expect(try await shell("sha256sum <'\(file)'").hasPrefix(hex))
    #expect(await eventually { folder.has("\(place).ommx") && !folder.has(place) }, "\(mount.messages)")
    #expect(await eventually { !folder.has("root/.weightfs/blobs/sha256/\(hex)") })
    registry.server.forgetRequests()
    #expect(try await shell("sha256sum <'\(file)'").hasPrefix(hex), "the name refers to the archive now")
    #expect(registry.blobRequests.isEmpty)
    #expect(try await mount.attribute("verified", of: "\(name)/model.gguf") == "blob")
  }
}

/// Cases found in daily use.
extension ArtifactCommandTests {
  @Test func whatIsKnownHereIsFoundByItsPathWhenTheRegistryIsGone() async throws {
    try await run("pull \(name)")
    try await run("tag \(name) \(registry.host)/team/deep/model:1")
    registry.server.stop()
    let mount = try await MountProcess(folder, ["--timeout", "5"])
    let hex = Verification.digest(of: model).hex
    for path in ["acme/m/t", "acme/m:t", "team/deep/model/1", "team/deep/model:1"] {
      let read = try await shell("sha256sum <'\(mount.path("\(registry.host)/\(path)/model.gguf"))'")
      #expect(read.hasPrefix(hex), "\(path)")
    }
  }

  @Test func whatIsRemovedWhileItIsFetchedDoesNotStay() async throws {
    let hex = Verification.digest(of: model).hex
    let mount = try await MountProcess(folder)
    let file = mount.path("\(name)/model.gguf")
    // Opened, and read to its end only after its artifact was removed.
    let reader = try await Command.shell(
      "exec 3<'\(file)' && head -c 1 <&3 >/dev/null && '\(MountProcess.program)' rm --registry-root '\(folder.path("root"))' \(name) && cat <&3 >/dev/null && exec 3<&-",
      environment: ["HOME": folder.path]
    )
    try #require(reader.status == 0, "\(reader.error)")
    #expect(
      try await eventually {
        _ = try await weightfs("gc")
        return !folder.has("root/.weightfs/blobs/sha256/\(hex)")
          && !folder.has("root/.weightfs/partial/sha256/\(hex)")
      },
      "an unreferenced blob is removed once it is not open"
    )
  }

  @Test func whatSomebodyLoadedIsNotReplacedByALookUpThatCameBefore() async throws {
    let mount = try await MountProcess(folder)
    // Resolved, but not loaded.
    _ = try await shell("stat '\(mount.path(name))' && ls '\(mount.path("\(registry.host)/acme/m"))'")
    let own = SeededGenerator.bytes(100_000, seed: 43)
    try LayoutMaker.write(folder, "own", layers: [LayoutMaker.file("mine.gguf", own)])
    try await run("load own --as \(name)")
    _ = try await weightfs("ls \(name)")
    _ = try await Command.shell("ls '\(mount.path(name))'; cat '\(mount.path(name))'/* >/dev/null")
    #expect(
      try await run("cat --offline \(name) mine.gguf | sha256sum").hasPrefix(Verification.digest(of: own).hex)
    )
    #expect(try await run("evict \(name)").contains("\t0 bytes freed"), "it is still final")
  }

  @Test func aDamagedManifestOfALayoutIsBroughtAgain() async throws {
    let digest = try await run("pull \(name)").split(separator: "\t")[1].dropFirst("sha256:".count)
    let copy = "\(place)/blobs/sha256/\(digest)"
    let right = try folder.read(copy)
    try folder.write(Array("{}".utf8), to: copy)
    #expect(try await run("ls").contains("100%"))
    #expect(try await run("verify --repair \(name)").contains("intact, repaired"))
    #expect(try folder.read(copy) == right)
    try folder.write(Array("{}".utf8), to: copy)
    try await run("pull \(name)")
    #expect(try folder.read(copy) == right)
  }

  @Test func loadingAgainUnderOneNameKeepsNothingOfTheOld() async throws {
    for seed in SeededGenerator.seeds([44, 45]) {
      try LayoutMaker.write(
        folder,
        "layout\(seed)",
        layers: [LayoutMaker.file("model.gguf", SeededGenerator.bytes(500_000, seed: seed))]
      )
      try await run("load layout\(seed) --as localhost:1/a/b:latest")
    }
    let large = folder.files().filter { name in
      name.hasPrefix("root/") && (try? folder.read(name).count) == 500_000
    }
    #expect(large.count == 2, "the pool's file and the layout's link: \(large)")
  }
}
