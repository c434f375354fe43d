import Stores
import BlobCache
import Content
import Disk
import Foundation
import LocalRegistry
import Logging
import OCI
import SystemPackage
import Telemetry
import TestSupport
import Testing

struct LocalRegistryTests {
  private let folder: TemporaryFolder
  private let metrics = Metrics()

  init() throws { folder = try TemporaryFolder() }

  private func registry(stores: [String] = []) throws -> LocalRegistry {
    try LocalRegistry(
      root: RegistryRoot(path: FilePath(folder.path("root"))),
      additionalStores: stores.map { FilePath(folder.path($0)) },
      metrics: metrics,
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    )
  }

  private func reference(_ text: String) throws -> Reference { try Reference(parsing: text) }

  private func archive(_ layout: String, to file: String, indexLast: Bool = false) async throws {
    let order = indexLast ? "oci-layout blobs index.json" : "index.json blobs oci-layout"
    let result = try await Command.shell(
      "mkdir -p $(dirname '\(folder.path(file))') && cd '\(folder.path(layout))' && tar -cf '\(folder.path(file))' \(order)"
    )
    try #require(result.status == 0, "\(result.error)")
  }

  @Test(arguments: [
    ("ghcr.io/jij-inc/ommx/qplib:3734", "ghcr.io/jij-inc/ommx/qplib/__3734"),
    ("localhost:5000/team/bert:v1", "localhost__5000/team/bert/__v1"),
    ("ubuntu", "docker.io/library/ubuntu/__latest"),
  ])
  func spellsPathsAsOMMXDoes(_ text: String, _ path: String) throws {
    #expect(ReferencePath.path(of: try reference(text)) == path)
    let leaf = try #require(path.split(separator: "/").last)
    #expect(ReferencePath.target(ofLeaf: String(leaf)) == (try reference(text)).target)
  }

  @Test func digestsAndPortsReadBack() throws {
    let digest = try #require(Digest("sha256:" + String(repeating: "3f", count: 32)))
    #expect(ReferencePath.leaf(of: .digest(digest)) == "__sha256__\(digest.hex)")
    #expect(ReferencePath.target(ofLeaf: "__sha256__\(digest.hex)") == .digest(digest))
    #expect(ReferencePath.target(ofLeaf: "__a__b") == .tag("a__b"))
    #expect(ReferencePath.target(ofLeaf: "x") == nil)
    #expect(ReferencePath.registry(of: "localhost__5000") == "localhost:5000")
    #expect(ReferencePath.registry(of: "a__b.io") == "a__b.io")
  }

  @Test func findsAnArchiveBeforeAFolderWhereverItsIndexStands() async throws {
    let entry = try LayoutMaker.write(folder, "root/ghcr.io/a/b/__t", layers: [LayoutMaker.file("x", [1])])
    let other = try LayoutMaker.write(folder, "other", layers: [LayoutMaker.file("x", [2])])
    #expect(try await registry().artifact(reference("ghcr.io/a/b:t"))?.descriptor.digest == entry.digest)
    try await archive("other", to: "root/ghcr.io/a/b/__t.ommx", indexLast: true)
    let found = try #require(try await registry().artifact(reference("ghcr.io/a/b:t")))
    #expect(found.descriptor.digest == other.digest)
    #expect(!found.wasFetched)
  }

  @Test func dockerHubsOtherNameOnDisk() async throws {
    try LayoutMaker.write(folder, "root/registry-1.docker.io/a/b/__t", layers: [])
    #expect(try await registry().artifact(reference("a/b:t")) != nil)
    #expect(try await registry().registries() == ["docker.io"])
  }

  @Test func recordsAValidLayoutAndRemembersThatItWasFetched() async throws {
    let source = try TemporaryFolder()
    let entry = try LayoutMaker.write(source, "l", layers: [LayoutMaker.file("x", [1, 2, 3])])
    let bytes = try source.read("l/blobs/sha256/\(entry.digest.hex)")
    let document = try ManifestDocument(bytes: bytes, digest: entry.digest, declared: nil)
    guard case .manifest(let manifest) = document.content else { return }
    let registry = try registry()
    let blobs = manifest.layers + [manifest.config].compactMap { $0 }
    _ = try await registry.record(
      try reference("localhost:1/a/b:t"),
      root: entry,
      documents: [document],
      blobs: blobs
    )
    for blob in blobs {
      try await registry.keep(
        try source.read("l/blobs/sha256/\(blob.digest.hex)"),
        digest: blob.digest,
        for: try reference("localhost:1/a/b:t")
      )
    }
    let found = try #require(try await self.registry().artifact(try reference("localhost:1/a/b:t")))
    #expect(found.wasFetched)
    #expect(found.descriptor.digest == entry.digest)
    let skopeo = try await Command.shell(
      "skopeo copy -q oci:\(folder.path("root/localhost__1/a/b/__t")) dir:\(folder.path("copy"))"
    )
    #expect(skopeo.status == 0, "\(skopeo.error)")
    // The same digest as a reference: its manifest is in the pool.
    #expect(try await registry.artifact(try reference("localhost:1/a/b@\(entry.digest)")) != nil)
  }

  @Test func listsWhatIsThereOnce() async throws {
    try LayoutMaker.write(folder, "root/ghcr.io/a/b/__t", layers: [])
    try LayoutMaker.write(folder, "root/ghcr.io/a/b/__u", layers: [])
    try LayoutMaker.write(folder, "root/ghcr.io/a/b/c/__t", layers: [])
    try LayoutMaker.write(folder, "store", layers: [], reference: "ghcr.io/a/b:t")
    let registry = try registry(stores: ["store"])
    let names = await registry.references().map(\.description)
    #expect(names == ["ghcr.io/a/b:t", "ghcr.io/a/b:u", "ghcr.io/a/b/c:t"])
    let children = await registry.children(registry: "ghcr.io", components: ["a", "b"])
    #expect(children.components == ["c"])
    #expect(children.targets == [.tag("t"), .tag("u")])
  }

  @Test func additionalStoresComeFirstAndNothingIsWrittenThere() async throws {
    let inStore = try LayoutMaker.write(
      folder,
      "podman/artifacts",
      layers: [LayoutMaker.file("x", [1])],
      reference: "quay.io/a/b:latest"
    )
    try LayoutMaker.write(folder, "root/quay.io/a/b/__latest", layers: [LayoutMaker.file("x", [2])])
    let before = folder.files().filter { $0.hasPrefix("podman") }
    let registry = try registry(stores: ["podman"])
    let found = try #require(try await registry.artifact(try reference("quay.io/a/b")))
    #expect(found.descriptor.digest == inStore.digest)
    #expect(found.isAdditional)
    #expect(try await registry.artifact(try reference("quay.io/a/b@\(inStore.digest)"))?.isAdditional == true)
    #expect(folder.files().filter { $0.hasPrefix("podman") } == before)
  }

  @Test func aStoreThatCannotBeReadIsPassedOverAndCounted() async throws {
    try LayoutMaker.write(folder, "root/ghcr.io/a/b/__t", layers: [])
    try folder.write(Array("{".utf8), to: "broken/index.json")
    let registry = try registry(stores: ["absent", "broken"])
    #expect(try await registry.artifact(try reference("ghcr.io/a/b:t")) != nil)
    #expect(metrics.skippedStores.value == 2)
  }

  @Test func damagedArchivesAreClearErrors() async throws {
    try LayoutMaker.write(
      folder,
      "good",
      layers: [LayoutMaker.file("x", SeededGenerator.bytes(100_000, seed: 1))]
    )
    try await archive("good", to: "good.tar")
    let bytes = try folder.read("good.tar")
    try folder.write(Array(bytes.prefix(60_000)), to: "root/ghcr.io/a/cut/__t.ommx")
    try folder.write(SeededGenerator.bytes(5000, seed: 2), to: "root/ghcr.io/a/rubbish/__t.ommx")
    let registry = try registry()
    for name in ["cut", "rubbish"] {
      let damaged = try #require(RepositoryName(registry: "ghcr.io", path: "a/\(name)")).tagged("t")
      do throws(ContentError) {
        _ = try await registry.artifact(damaged)
        Issue.record("\(name) was read")
      } catch {
        #expect(error.code == .corrupt)
        #expect(error.subject.hasSuffix("\(name)/__t.ommx"))
      }
    }
  }

  @Test func nfsIsKnownByTheMountTable() {
    let table = """
      22 1 8:1 / / rw - ext4 /dev/sda rw
      30 22 0:5 / /data rw,relatime shared:1 - nfs4 server:/x rw
      31 30 0:6 / /data/local rw - ext4 /dev/sdb rw

      """
    #expect(!MountTable.isOnNetwork("/var/lib/x", table: table))
    #expect(MountTable.isOnNetwork("/data/x", table: table))
    #expect(!MountTable.isOnNetwork("/data/local/x", table: table))
    #expect(!MountTable.isOnNetwork("/database", table: table))
  }
}

extension RepositoryName {
  fileprivate func tagged(_ tag: String) -> Reference { Reference(repository: self, target: .tag(tag)) }
}
