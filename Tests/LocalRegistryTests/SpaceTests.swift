import Layouts
import BlobCache
import Content
import Foundation
import LocalRegistry
import Logging
import OCI
import SystemPackage
import Telemetry
import TestSupport
import Testing

/// Space for blobs: reserved, used, freed, with several registries on one root that represent processes.
struct SpaceTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func registry(_ limits: SpaceLimits = SpaceLimits()) throws -> LocalRegistry {
    try LocalRegistry(
      root: RegistryRoot(path: FilePath(folder.path("root"))),
      additionalStores: [],
      metrics: Metrics(),
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      limits: limits
    )
  }

  @Test func aRootThatIsMadeAgainHasALedgerOfItsOwn() throws {
    let first = try registry(SpaceLimits(cacheLimit: 1 << 30))
    try first.space.reserve(8192)
    let root = folder.path("root")
    try FileManager.default.removeItem(atPath: root)
    // Another process makes the root again.
    let second = try registry()
    #expect(try second.space.usage().used == 0)
    try first.space.reserve(4096)
    let usage = try second.space.usage()
    #expect(usage.used == 12_288, "what the first process has reserved is entered in the new file")
    #expect(usage.limits.cacheLimit == 1 << 30, "and so are its limits")
    first.space.settle(promised: 12_288, kept: 0)
    #expect(try second.space.usage().used == 0)
  }

  /// A fetched artifact of one layer, with its blob in the pool.
  private func add(_ registry: LocalRegistry, _ tag: String, _ bytes: [UInt8]) async throws -> Descriptor {
    let layer = Descriptor(
      mediaType: MediaType(rawValue: "application/octet-stream"),
      digest: Verification.digest(of: bytes),
      size: Int64(bytes.count)
    )
    let manifest = try JSONDocument.encode(
      Manifest(artifactType: MediaType(rawValue: "application/x"), config: nil, layers: [layer])
    )
    let document = try ManifestDocument(
      bytes: manifest,
      digest: Verification.digest(of: manifest),
      declared: .imageManifest
    )
    _ = try await registry.record(
      try Reference(parsing: "example.com/a/b:\(tag)"),
      root: document.descriptor,
      documents: [document],
      blobs: [layer]
    )
    try await registry.keep(bytes, digest: layer.digest, for: reference(tag))
    return layer
  }

  private func reference(_ tag: String) throws -> Reference {
    try Reference(parsing: "example.com/a/b:\(tag)")
  }

  private func has(_ layer: Descriptor) -> Bool {
    folder.has("root/.weightfs/blobs/sha256/\(layer.digest.hex)")
  }

  @Test func aPromiseOfOneProcessCountsInAnother() throws {
    let first = try registry(SpaceLimits(cacheLimit: 10 << 20))
    let second = try registry()
    #expect(try first.space.reserveNow(8 << 20))
    #expect(try !second.space.reserveNow(4 << 20), "the limit of one process applies to all")
    first.space.settle(promised: 8 << 20, kept: 0)
    #expect(try second.space.reserveNow(4 << 20))
  }

  @Test func thePromiseOfADeadProcessIsForgotten() throws {
    var dead: LocalRegistry? = try registry(SpaceLimits(cacheLimit: 10 << 20))
    #expect(try dead?.space.reserveNow(9 << 20) ?? false)
    dead = nil
    let living = try registry(SpaceLimits(cacheLimit: 10 << 20))
    try living.space.reserve(9 << 20)
  }

  @Test func theOldestFetchedBlobGoesOutOfPoolAndLayout() async throws {
    let registry = try registry(SpaceLimits(cacheLimit: 3 << 20))
    let old = try await add(registry, "old", SeededGenerator.bytes(1 << 20, seed: 1))
    let new = try await add(registry, "new", SeededGenerator.bytes(1 << 20, seed: 2))
    let layout = "root/example.com/a/b/__old/blobs/sha256/\(old.digest.hex)"
    #expect(folder.has(layout))
    // Old by its last use, not by its arrival.
    let use = folder.path("root/.weightfs/state/references/sha256-\(old.digest.hex)")
    try #require(try await Command.shell("touch -d '1 hour ago' '\(use)'").status == 0)
    registry.space.touch(new.digest)
    try registry.space.reserve(3 << 19)
    #expect(!has(old) && !folder.has(layout))
    #expect(has(new))
    #expect(try await registry.artifact(reference("old")) != nil, "the artifact is still known")
  }

  @Test func whatIsPinnedOpenOrFinalStays() async throws {
    let registry = try registry(SpaceLimits(cacheLimit: 4 << 20))
    let pinned = try await add(registry, "pinned", SeededGenerator.bytes(1 << 20, seed: 1))
    let open = try await add(registry, "open", SeededGenerator.bytes(1 << 20, seed: 2))
    let final = try await add(registry, "final", SeededGenerator.bytes(1 << 20, seed: 3))
    try registry.pins.add(reference("pinned"))
    let found = try #require(try await registry.artifact(reference("final")))
    try registry.put(try registry.contents(of: found), as: reference("mine"), format: .directory)
    guard case .file(let held, _) = try registry.pool.complete(open) else {
      Issue.record("the blob is absent")
      return
    }
    let error = #expect(throws: ContentError.self) { try registry.space.reserve(2 << 20) }
    #expect(error?.isDiskFull ?? false)
    #expect(has(pinned) && has(open) && has(final))
    withExtendedLifetime(held) {}
    try registry.pins.remove(reference("pinned"))
    #expect(try registry.evict(reference("pinned")).freed >= 1 << 20)
    #expect(!has(pinned))
    #expect(try registry.evict(reference("final")).kept == [.final: 1], "another artifact of it is final")
  }

  @Test func nothingIsEvictedInVain() async throws {
    let registry = try registry(SpaceLimits(cacheLimit: 3 << 20))
    let blob = try await add(registry, "a", SeededGenerator.bytes(1 << 20, seed: 1))
    #expect(throws: ContentError.self) { try registry.space.reserve(4 << 20) }
    #expect(has(blob), "it would not have been enough")
    #expect(try !registry.space.couldHold(4 << 20))
    #expect(try registry.space.couldHold(2 << 20))
  }

  @Test func removingAnArtifactKeepsWhatOthersHave() async throws {
    let registry = try registry()
    let bytes = SeededGenerator.bytes(1 << 20, seed: 1)
    let shared = try await add(registry, "one", bytes)
    _ = try await add(registry, "two", bytes)
    #expect(try registry.remove(reference("one")) == 0)
    #expect(has(shared))
    #expect(try registry.remove(reference("two")) >= 1 << 20)
    #expect(!has(shared))
    #expect(!folder.has("root/example.com"), "empty directories are removed too")
    #expect(throws: ContentError.self) { try registry.remove(reference("two")) }
  }

  @Test func collectingFindsOrphansAndKeepsTheRest() async throws {
    let registry = try registry()
    let kept = try await add(registry, "kept", SeededGenerator.bytes(100_000, seed: 1))
    let orphan = SeededGenerator.bytes(100_000, seed: 2)
    try await registry.keep(orphan, digest: Verification.digest(of: orphan), for: nil)
    let hex = Verification.digest(of: orphan).hex
    let old = try await Command.shell(
      "touch -d '1 hour ago' '\(folder.path("root/.weightfs/blobs/sha256/\(hex)"))' && echo x >'\(folder.path("root/.weightfs/temporary/1.2"))' && touch -d '1 hour ago' '\(folder.path("root/.weightfs/temporary/1.2"))'"
    )
    try #require(old.status == 0, "\(old.error)")
    let plan = try registry.collect(dryRun: true)
    #expect(
      plan.leftovers.contains { $0.path.hasSuffix(hex) } && folder.has("root/.weightfs/blobs/sha256/\(hex)")
    )
    _ = try registry.collect(dryRun: false)
    #expect(!folder.has("root/.weightfs/blobs/sha256/\(hex)"))
    #expect(!folder.has("root/.weightfs/temporary/1.2"))
    #expect(has(kept))
    #expect(try registry.collect(dryRun: true).leftovers.isEmpty)
  }
}
