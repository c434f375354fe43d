import Stores
import Disk
import BlobCache
import Content
import Fetching
import Foundation
import LocalRegistry
import Logging
import OCI
import SystemPackage
import Telemetry
import TestSupport
import Testing

/// Random pulls, reads, evictions, pins, removals, crashes and restarts, each followed by a comparison with a
/// model.
///
/// 250 steps per seed with the other tests; `make soak` runs 10,000.
struct CacheModelTests {
  private static let steps = ProcessInfo.processInfo.environment["WEIGHTFS_STEPS"].flatMap { Int($0) } ?? 250
  private static let limit: Int64 = 1 << 20
  // Blocks of the file system, and the map of a partial blob.
  private static let slack: Int64 = 64 << 10

  private struct Content {
    let source: MemoryRepository
    let document: ManifestDocument
    let layer: Descriptor
  }

  /// The expected state.
  private struct Model {
    /// The artifact of each tag.
    var tags: [String: Int] = [:]
    var pinned: Set<String> = []
    /// Blobs that are open.
    var open: [Int: LazyBlob] = [:]
    /// Blobs that were complete when their tag was pinned, or later.
    var kept: Set<Int> = []
  }

  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func content(_ number: Int) throws -> Content {
    let source = MemoryRepository(
      SeededGenerator.bytes(150_000 + number * 30_000, seed: UInt64(900 + number)),
      origin: "example.com/a/m"
    )
    let layer = Descriptor(
      mediaType: MediaType(rawValue: "application/octet-stream"),
      digest: source.descriptor.digest,
      size: source.descriptor.size
    )
    let bytes = try JSONDocument.encode(
      Manifest(artifactType: MediaType(rawValue: "application/x"), config: nil, layers: [layer])
    )
    let document = try ManifestDocument(
      bytes: bytes,
      digest: Verification.digest(of: bytes),
      declared: .imageManifest
    )
    return Content(source: source, document: document, layer: layer)
  }

  private func start() throws -> BlobStore {
    var policy = FetchPolicy()
    policy.fill = .demand
    policy.smallBlob = 1000
    policy.deadline = .seconds(60)
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let local = try LocalRegistry(
      root: RegistryRoot(path: FilePath(folder.path("root"))),
      additionalStores: [],
      metrics: Metrics(),
      log: log,
      limits: SpaceLimits(cacheLimit: Self.limit)
    )
    return BlobStore(local: local, policy: policy, isOffline: false, metrics: Metrics(), log: log)
  }

  private func used() -> Int64 {
    // A blob that is being committed has both names for a moment.
    var files: [UInt64: Int64] = [:]
    for root in ["root/.weightfs/blobs/sha256", "root/.weightfs/partial/sha256"] {
      for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.path(root))) ?? [] {
        var status = stat()
        guard lstat(folder.path("\(root)/\(name)"), &status) == 0 else { continue }
        files[UInt64(status.st_ino)] = Int64(status.st_blocks) * 512
      }
    }
    return files.values.reduce(0, +)
  }

  private func isWhole(_ content: Content) -> Bool {
    folder.has("root/.weightfs/blobs/sha256/\(content.layer.digest.hex)")
  }

  @Test(arguments: SeededGenerator.seeds([1, 2, 3]))
  func whateverIsDoneTheCacheKeepsItsWord(_ seed: UInt64) async throws {
    var generator = SeededGenerator(seed: seed)
    let contents = try (0..<8).map { try content($0) }
    var store = try start()
    var model = Model()
    var history: [String] = []
    func name(_ tag: String) throws -> Reference { try Reference(parsing: "example.com/a/m:\(tag)") }
    func open(_ content: Content, by tag: String? = nil) async throws(ContentError) -> LazyBlob {
      let reference = tag.flatMap { try? name($0) }
      return try await store.open(content.layer, layout: nil, source: content.source, reference: reference)
    }
    for step in 0..<Self.steps {
      let tag = "t\(Int.random(in: 0..<6, using: &generator))"
      let choice = Int.random(in: 0..<100, using: &generator)
      let label: Comment = "seed \(seed), step \(step): \(history.suffix(6).joined(separator: ", "))"
      switch choice {
      case ..<25:
        let number = Int.random(in: contents.indices, using: &generator)
        history.append("pull \(tag)=\(number)")
        let content = contents[number]
        _ = try await store.local.record(
          try name(tag),
          root: content.document.descriptor,
          documents: [content.document],
          blobs: [content.layer]
        )
        model.tags[tag] = number
        // A blob that was completely read may have become complete a moment ago.
        let pinnedNow = model.pinned.compactMap { model.tags[$0] }
        let held = Set(model.open.keys).union(model.kept).union(pinnedNow).union([number])
        let needed = held.reduce(0) { $0 + contents[$1].layer.size }
        let mayLack = needed + Self.slack > Self.limit
        // A blob that was just read stays open until all its work has ended.
        let isDone = await eventually(seconds: mayLack ? 0 : 3) {
          do throws(ContentError) {
            try await open(content, by: tag).complete()
            return true
          } catch {
            #expect(error.isDiskFull, "\(label): \(error)")
            return false
          }
        }
        #expect(
          isDone || mayLack,
          "\(label): there was room: \(needed), \((try? store.local.space.survey())?.map { "\($0.isPartial) \($0.size) \($0.protection.map { "\($0)" } ?? "-")" } ?? [])"
        )
        #expect(!isDone || isWhole(content), label)
        if model.pinned.contains(tag), isWhole(content) { model.kept.insert(number) }
      case ..<60:
        guard let number = model.tags[tag] else { continue }
        history.append("read \(tag)=\(number)")
        let content = contents[number]
        let first = Int64.random(in: 0..<content.layer.size, using: &generator)
        let end = min(content.layer.size, first + Int64.random(in: 1...100_000, using: &generator))
        let blob = try await open(content)
        let bytes = await blob.bytes(first..<end)
        #expect(try bytes.get() == Array(content.source.bytes[Int(first)..<Int(end)]), label)
        if Int.random(in: 0..<4, using: &generator) == 0, model.open.count < 2 { model.open[number] = blob }
      case ..<68:
        history.append("close")
        if let number = model.open.keys.sorted().first { model.open[number] = nil }
      case ..<76:
        guard let number = model.tags[tag] else { continue }
        history.append("evict \(tag)")
        let isHeld =
          isWhole(contents[number])
          && (model.kept.contains(number) || model.open[number]?.completeFile?.isInPlace ?? false)
        _ = try store.local.evict(try name(tag))
        if isHeld {
          #expect(isWhole(contents[number]), label)
        }
      case ..<82:
        guard model.tags[tag] != nil, model.kept.count < 2 else { continue }
        history.append("pin \(tag)")
        try store.local.pin(try name(tag))
        model.pinned.insert(tag)
      case ..<88:
        history.append("unpin \(tag)")
        try store.local.pins.remove(try name(tag))
        model.pinned.remove(tag)
      case ..<92:
        guard model.tags.removeValue(forKey: tag) != nil else { continue }
        history.append("rm \(tag)")
        _ = try store.local.remove(try name(tag))
        model.pinned.remove(tag)
      case ..<94:
        history.append("gc")
        _ = try store.local.collect(dryRun: false)
      case ..<97:
        history.append("restart")
        model.open = [:]
        store = try start()
      default:
        // A killed process leaves its blobs, reservations and temporary files.
        history.append("crash")
        if let number = model.tags[tag] { _ = await (try open(contents[number], by: tag)).bytes(0..<70_000) }
        _ = try? store.local.space.reserveNow(200_000)
        try folder.write([1, 2, 3], to: "root/.weightfs/temporary/1.\(step)")
        model.open = [:]
        store = try start()
      }
      // Pinned and complete blobs stay complete; blobs without a pinned tag are evictable again.
      let pinned = Set(model.pinned.compactMap { model.tags[$0] })
      model.kept = pinned.filter { isWhole(contents[$0]) || model.kept.contains($0) }
      for number in model.kept { #expect(isWhole(contents[number]), "\(label): a pinned blob is gone") }
      let used = used()
      #expect(used <= Self.limit + Self.slack, "\(label): \(used) bytes used")
      if step % 20 == 0 {
        for known in 0..<6 {
          let found = try await store.local.artifact(try name("t\(known)"))
          let wanted = model.tags["t\(known)"].map { contents[$0].document.descriptor.digest }
          #expect(found?.descriptor.digest == wanted, "\(label): t\(known)")
        }
        for content in contents where isWhole(content) {
          let bytes = try folder.read("root/.weightfs/blobs/sha256/\(content.layer.digest.hex)")
          #expect(Verification.digest(of: bytes) == content.layer.digest, label)
        }
      }
    }
  }
}
