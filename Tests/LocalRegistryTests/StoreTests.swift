import Stores
import Disk
import Layouts
import BlobCache
import Content
import Foundation
import LocalRegistry
import Logging
import OCI
import SystemPackage
import Synchronization
import Telemetry
import TestSupport
import Testing

/// Read-only stores of other programs, each in its own format.
struct StoreTests {
  private let folder: TemporaryFolder
  private let metrics = Metrics()
  private let model = SeededGenerator.bytes(300_000, seed: 91)

  init() throws { folder = try TemporaryFolder() }

  private func registry(_ stores: [String], log: Logger? = nil) throws -> LocalRegistry {
    try LocalRegistry(
      root: RegistryRoot(path: FilePath(folder.path("root"))),
      additionalStores: stores.map { FilePath(folder.path($0)) },
      metrics: metrics,
      log: log ?? Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    )
  }

  private var digest: Digest { Verification.digest(of: model) }

  private func descriptor(_ bytes: [UInt8]) -> Descriptor {
    Descriptor(
      mediaType: MediaType(rawValue: "application/octet-stream"),
      digest: Verification.digest(of: bytes),
      size: Int64(bytes.count)
    )
  }

  /// Returns every file of a store with its modification time, and every directory.
  private func state(_ store: String) async throws -> String {
    try await Command.shell("cd '\(folder.path(store))' && find . -printf '%p %y %s %T@ %m\\n' | sort").output
  }

  private func reads(_ registry: LocalRegistry, _ name: String) async throws -> [Descriptor] {
    let found = try #require(try await registry.artifact(try Reference(parsing: name)), "\(name)")
    let contents = try registry.contents(of: found)
    #expect(contents.missing.filter { $0.data == nil }.isEmpty)
    for (descriptor, file) in contents.blobs {
      guard let file else { continue }
      #expect(try file.digest(descriptor.digest.algorithm) == descriptor.digest)
    }
    return contents.blobs.map(\.descriptor)
  }

  private func podmanStore(_ store: String, _ names: [String], _ bytes: [UInt8]) throws {
    var entries: [Descriptor] = []
    for name in names {
      var entry = try LayoutMaker.write(
        folder,
        "\(store)/artifacts",
        layers: [LayoutMaker.file("model.gguf", bytes)]
      )
      entry.annotations["org.opencontainers.image.ref.name"] = name
      entries.append(entry)
    }
    try folder.write(try JSONDocument.encode(Index(manifests: entries)), to: "\(store)/artifacts/index.json")
  }

  private func ollamaStore() throws {
    let config = Array(#"{"model_format":"gguf"}"#.utf8)
    try folder.write(model, to: "ollama/blobs/sha256-\(digest.hex)")
    try folder.write(config, to: "ollama/blobs/sha256-\(Verification.digest(of: config).hex)")
    var configuration = descriptor(config)
    configuration.mediaType = .dockerImageConfig
    var layer = descriptor(model)
    layer.mediaType = MediaType(rawValue: "application/vnd.ollama.image.model")
    var manifest = Manifest(config: configuration, layers: [layer])
    manifest.mediaType = .dockerManifest
    try folder.write(
      try JSONDocument.encode(manifest),
      to: "ollama/manifests/registry.ollama.ai/library/tiny/latest"
    )
  }

  private func huggingFaceCache() throws {
    let commit = "0123456789abcdef0123456789abcdef01234567"
    let place = "hub/models--Acme--Tiny-2"
    try folder.write(model, to: "\(place)/blobs/\(digest.hex)")
    try folder.write(Array("{\"a\":1}".utf8), to: "\(place)/blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b")
    try folder.write(Array(commit.utf8), to: "\(place)/refs/main")
    let snapshot = folder.path("\(place)/snapshots/\(commit)")
    try FileManager.default.createDirectory(atPath: "\(snapshot)/sub", withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(
      atPath: "\(snapshot)/sub/model.gguf",
      withDestinationPath: "../../../blobs/\(digest.hex)"
    )
    try FileManager.default.createSymbolicLink(
      atPath: "\(snapshot)/config.json",
      withDestinationPath: "../../blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b"
    )
  }

  @Test func theFirstStoreWinsAndAReferenceIsListedOnce() async throws {
    let other = SeededGenerator.bytes(1000, seed: 92)
    try podmanStore("first", ["quay.io/a/b:1", "quay.io/a/only:1"], model)
    try podmanStore("second", ["quay.io/a/b:1", "quay.io/a/late:1"], other)
    let registry = try registry(["first", "second"])
    #expect(try await reads(registry, "quay.io/a/b:1").contains { $0.digest == digest })
    #expect(try await reads(registry, "quay.io/a/late:1").contains { $0.size == 1000 })
    #expect(
      await registry.references().map(\.description) == [
        "quay.io/a/b:1", "quay.io/a/late:1", "quay.io/a/only:1",
      ]
    )
    let found = try #require(try await registry.artifact(try Reference(parsing: "quay.io/a/b:1")))
    let pinned = try Reference(parsing: "quay.io/a/b@\(found.descriptor.digest)")
    #expect(try await registry.artifact(pinned)?.isAdditional ?? false, "by repository and digest")
  }

  @Test func nothingIsWrittenLockedOrRemovedInAStore() async throws {
    try podmanStore("store", ["quay.io/a/b:1"], model)
    let before = try await state("store")
    let registry = try registry(["store"])
    _ = try await reads(registry, "quay.io/a/b:1")
    let reference = try Reference(parsing: "quay.io/a/b:1")
    let refused = #expect(throws: ContentError.self) { try registry.remove(reference) }
    #expect(refused?.code == .unsupported && refused?.description.contains(folder.path("store")) ?? false)
    let found = try #require(try await registry.artifact(reference))
    let contents = try registry.contents(of: found)
    let shadowed = #expect(throws: ContentError.self) {
      try registry.put(contents, as: reference, format: .directory)
    }
    #expect(shadowed?.description.contains("takes precedence") ?? false, "a tag of a store cannot be reused")
    try registry.put(contents, as: try Reference(parsing: "localhost/mine:1"), format: .directory)
    _ = try registry.collect(dryRun: false)
    #expect(try await state("store") == before)
  }

  @Test func aStoreOfOllamaGivesItsModelsAndTheirBlobs() async throws {
    try ollamaStore()
    let before = try await state("ollama")
    let registry = try registry(["ollama"])
    #expect(try await reads(registry, "registry.ollama.ai/library/tiny:latest").count == 2)
    #expect(await registry.references().map(\.description) == ["registry.ollama.ai/library/tiny:latest"])
    let file = try #require(
      registry.storedBlob(digest, size: Int64(model.count)),
      "every artifact with the blob can use it"
    )
    #expect(file.path == FilePath(folder.path("ollama/blobs/sha256-\(digest.hex)")))
    #expect(try await state("ollama") == before)
  }

  @Test func aStoreOnAReadOnlyMountOfAnotherUserIsRead() async throws {
    try podmanStore("store", ["quay.io/a/b:1"], model)
    let made = try await Command.shell(
      "chown -R games '\(folder.path("store"))' && mount --bind '\(folder.path("store"))' '\(folder.path("store"))' && mount -o remount,bind,ro '\(folder.path("store"))'"
    )
    try #require(made.status == 0, "\(made.error)")
    defer { umount2(folder.path("store"), Int32(MNT_DETACH)) }
    let registry = try registry(["store"])
    #expect(try await reads(registry, "quay.io/a/b:1").contains { $0.digest == digest })
    #expect(try registry.collect(dryRun: false).leftovers.isEmpty)
    // As a user who owns nothing in the store and has a separate root.
    let asNobody = try await Command.shell(
      "mkdir -m 777 '\(folder.path("home"))' && chmod 755 '\(folder.path)' && setpriv --reuid 65534 --regid 65534 --clear-groups env HOME='\(folder.path("home"))' '\(MountProcess.program)' cat --registry-root '\(folder.path("home/root"))' --additional-store '\(folder.path("store"))' quay.io/a/b:1 model.gguf | sha256sum"
    )
    #expect(asNobody.output.hasPrefix(digest.hex), "\(asNobody.error)")
  }

  @Test func aCacheOfTheHubGivesItsRevisions() async throws {
    try huggingFaceCache()
    let registry = try registry(["hub"])
    let layers = try await reads(registry, "huggingface.co/acme/tiny-2:main").dropFirst()
    #expect(layers.map { $0.annotations["org.cncf.model.filepath"] } == ["config.json", "sub/model.gguf"])
    #expect(registry.storedBlob(digest, size: Int64(model.count)) != nil)
    #expect(await registry.references().map(\.description) == ["huggingface.co/acme/tiny-2:main"])
  }

  @Test func linksOutOfACacheLeadNowhere() async throws {
    try huggingFaceCache()
    let snapshot = folder.path("hub/models--Acme--Tiny-2/snapshots/0123456789abcdef0123456789abcdef01234567")
    try FileManager.default.createSymbolicLink(atPath: "\(snapshot)/etc", withDestinationPath: "/etc")
    try FileManager.default.createSymbolicLink(atPath: "\(snapshot)/round", withDestinationPath: ".")
    let registry = try registry(["hub"])
    let found = try await registry.artifact(try Reference(parsing: "huggingface.co/acme/tiny-2:main"))
    #expect(found == nil, "a snapshot with missing files is logged, not shown partially")
    #expect(metrics.skippedStores.value == 1)
  }

  @Test func aBrokenStoreCostsOnlyItself() async throws {
    try podmanStore("good", ["quay.io/a/b:1"], model)
    try podmanStore("broken", ["quay.io/a/c:1"], model)
    try folder.write(Array("{not json".utf8), to: "broken/artifacts/index.json")
    let messages = MessageLog()
    let registry = try registry(["absent", "broken", "good"], log: Logger(label: "test") { _ in messages })
    #expect(try await reads(registry, "quay.io/a/b:1").contains { $0.digest == digest })
    _ = try await registry.artifact(try Reference(parsing: "quay.io/a/b:1"))
    for path in ["absent", "broken"] {
      #expect(
        messages.lines.filter { $0.contains(folder.path(path)) }.count == 1,
        "\(path): \(messages.lines)"
      )
    }
    try podmanStore("absent", ["quay.io/a/late:1"], model)
    #expect(try await reads(registry, "quay.io/a/late:1").count == 2, "a store that is created later is used")
  }

  @Test func aForeignEntryOfAStoreIsToldAndTheRestIsUsed() async throws {
    // A local registry as a store: an oci-dir for each tag.
    let layout = "tree/quay.io/a/b/__1"
    try LayoutMaker.write(folder, layout, layers: [LayoutMaker.file("m", [1])], reference: "1")
    let text = String(decoding: try folder.read("\(layout)/index.json"), as: UTF8.self)
    let foreign = #""manifests":[{"mediaType":"a/b","digest":"sha384:00","size":1},"#
    try folder.write(
      Array(text.replacing("\"manifests\":[", with: foreign).utf8),
      to: "\(layout)/index.json"
    )
    let messages = MessageLog()
    let registry = try registry(["tree"], log: Logger(label: "test") { _ in messages })
    for _ in 0..<2 { #expect(try await registry.artifact(try Reference(parsing: "quay.io/a/b:1")) != nil) }
    let told = messages.lines.filter { $0.contains("cannot read a part") }
    #expect(told.count == 1 && told[0].contains("sha384"), "\(messages.lines)")
  }

  @Test func aStoreWithoutPermissionIsTold() async throws {
    try podmanStore("store", ["quay.io/a/b:1"], model)
    chmod(folder.path("store"), 0)
    defer { chmod(folder.path("store"), 0o755) }
    let program = MountProcess.program
    let closed = try await Command.shell(
      "mkdir -m 777 '\(folder.path("home"))' && chmod 755 '\(folder.path)' && setpriv --reuid 65534 --regid 65534 --clear-groups env HOME='\(folder.path("home"))' '\(program)' ls --registry-root '\(folder.path("home/root"))' --additional-store '\(folder.path("store"))'"
    )
    #expect(closed.status == 0, "\(closed.error)")
    #expect(
      closed.error.contains(folder.path("store")) && closed.error.contains("ermission"),
      "\(closed.error)"
    )
  }
}

/// Collects log messages.
private final class MessageLog: LogHandler, Sendable {
  private let state = Mutex<[String]>([])

  var lines: [String] { state.withLock { $0 } }
  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  var logLevel: Logger.Level {
    get { .debug }
    set {}
  }
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  func log(event: LogEvent) {
    state.withLock { $0.append("\(event.message) \(event.metadata ?? [:])") }
  }
}
