import Stores
import BlobCache
package import Layouts
import ArtifactTree
package import Content
package import Fetching
package import LocalRegistry
package import Logging
package import OCI

/// Loads manifests and builds trees; concurrent loads of the same artifact share the work.
package actor ArtifactLoader {
  private struct Key: Hashable {
    let reference: Reference
    let digest: Digest
  }

  let local: LocalRegistry
  private let remote: any RepositoryProvider
  private let store: BlobStore
  private let trees: TreeLoader
  private let indexes: TarIndexCache
  private let firstBytes = FirstBytes()
  let unpacker: LayerUnpacker
  let platform: Platform
  private let requiresComplete: Bool
  private let isOffline: Bool
  private let log: Logger
  private var known: [Key: LoadedArtifact] = [:]
  private var order: [Key] = []
  /// Incremented with each blob that turned out wrong.
  private var generation = 0
  private let flights = SingleFlight<Key, LoadedArtifact>()
  /// Artifacts that are being recorded behind their look-ups.
  private var recordings: [UInt64: Task<Void, Never>] = [:]
  private var nextRecording: UInt64 = 0

  /// Memory of the cached artifacts in bytes.
  private var memory = 0

  // Open directories hold their artifacts themselves; up to this many more are cached for later look-ups, within
  // the memory limit.
  private static let limit = 4096
  private let memoryLimit: Int
  // Configs of images have some kilobytes; larger configs are fetched when they are read.
  private static let configLimit: Int64 = 1 << 20

  /// Creates a loader.
  ///
  /// - Parameters:
  ///   - local: The local registry, which stores manifests.
  ///   - remote: The registries.
  ///   - store: Reads the bytes of layers.
  ///   - isOffline: Whether no request may be sent.
  ///   - log: Receives messages for the operator.
  ///   - packaging: How layers are opened.
  ///   - memoryLimit: The maximum memory of cached artifacts in bytes.
  package init(
    local: LocalRegistry,
    remote: any RepositoryProvider,
    store: BlobStore,
    isOffline: Bool,
    log: Logger,
    packaging: PackagingSettings = PackagingSettings(),
    memoryLimit: Int = 32 << 20
  ) {
    self.memoryLimit = memoryLimit
    self.local = local
    self.remote = remote
    self.store = store
    self.isOffline = isOffline
    self.log = log
    // A parser waits for bytes that the disk threads deliver, so it needs separate threads.
    indexes = TarIndexCache(executor: BlockingExecutor(label: "weightfs.parse", threads: 4))
    trees = TreeLoader(
      indexes: indexes,
      firstBytes: firstBytes,
      showsCompleteImages: packaging.showsCompleteImages
    )
    platform = packaging.platform
    requiresComplete = packaging.requiresComplete
    unpacker = LayerUnpacker(local: local, limits: packaging.unpacking)
  }

  /// Loads an artifact.
  ///
  /// - Parameters:
  ///   - reference: The reference.
  ///   - resolution: The resolution of the reference.
  ///   - recording: Whether and when the artifact is recorded in the local registry.
  ///   - replacesFinal: Whether a final artifact is replaced, as by `pull`.
  /// - Throws: `ContentError`.
  package func load(
    _ reference: Reference,
    _ resolution: ReferenceResolver.Resolution,
    recording: ArtifactRecording = .before,
    replacesFinal: Bool = false
  ) async throws(ContentError) -> LoadedArtifact {
    let key = Key(reference: reference, digest: resolution.descriptor.digest)
    let before = generation
    if let artifact = known[key], artifact.layout?.isThere ?? true { return artifact }
    let artifact = try await flights.value(for: key) { () async throws(ContentError) in
      let artifact = try await self.read(reference, resolution, recording, replacesFinal)
      await self.keep(artifact, key, before)
      return artifact
    }
    // Data read before a blob turned out wrong is discarded and read again.
    guard generation == before else {
      return try await load(reference, resolution, recording: recording, replacesFinal: replacesFinal)
    }
    return artifact
  }

  private func keep(_ artifact: LoadedArtifact, _ key: Key, _ before: Int) {
    guard generation == before else { return }
    if let before = known.updateValue(artifact, forKey: key) {
      memory -= before.memory
    } else {
      order.append(key)
    }
    memory += artifact.memory
    while order.count > 1, order.count > Self.limit || memory > memoryLimit { drop(order.removeFirst()) }
  }

  /// Whether an artifact can be loaded without a request: its manifest is on this machine, and the layers
  /// that its tree is built from are complete.
  ///
  /// - Parameter resolution: The resolution of its reference.
  /// - Returns: False if the local copy cannot be read.
  package func isHere(_ resolution: ReferenceResolver.Resolution) async -> Bool {
    let layout = resolution.local?.repository
    do throws(ContentError) {
      let (_, manifest, _) = try await documents(resolution.descriptor, layout, nil)
      for read in TreeLoader.layersRead(of: manifest) {
        // Of a layer that was decompressed, only the content is read.
        let layer = await unpacker.content(of: read) ?? read
        guard await store.status(layer, layout: layout).presence == .complete else { return false }
      }
      return true
    } catch {
      return false
    }
  }

  /// Forgets data that was read from a blob that turned out wrong.
  package func forget(_ digest: Digest) async {
    generation += 1
    flights.forgetAll()
    await indexes.remove(digest)
    await firstBytes.remove(digest)
    await unpacker.forget(digest)
    let affected = known.filter { $0.value.manifest.layers.contains { $0.digest == digest } }.map(\.key)
    for key in affected { drop(key) }
    order.removeAll { affected.contains($0) }
  }

  private func drop(_ key: Key) {
    if let artifact = known.removeValue(forKey: key) { memory -= artifact.memory }
  }

  private func read(
    _ reference: Reference,
    _ resolution: ReferenceResolver.Resolution,
    _ recording: ArtifactRecording,
    _ replacesFinal: Bool
  ) async throws(ContentError) -> LoadedArtifact {
    let source = isOffline ? nil : remote.repository(reference.repository)
    let layout = resolution.local?.repository
    let (documents, manifest, notes) = try await documents(resolution.descriptor, layout, source)
    let record = ArtifactRecord(
      reference: reference,
      resolution: resolution,
      documents: documents,
      manifest: manifest,
      source: source,
      replacesFinal: replacesFinal
    )
    var home = layout
    switch recording {
    case .before: home = await write(record)
    case .behind: writeBehind(record)
    case .never: break
    }
    return try await artifact(
      label: "\(reference)",
      reference: reference,
      root: resolution.descriptor,
      documents: documents,
      manifest: manifest,
      notes: notes,
      layout: home,
      source: source,
      isFetched: resolution.local?.wasFetched ?? true,
      isRecorded: recording != .never
    )
  }

  // MARK: Recording

  /// Waits until all artifacts that were looked up are recorded.
  package func settle() async {
    // Each recording removes itself before it ends.
    while let recording = recordings.values.first { await recording.value }
  }

  private func writeBehind(_ record: ArtifactRecord) {
    nextRecording += 1
    let number = nextRecording
    recordings[number] = Task {
      _ = await self.write(record)
      self.recordings[number] = nil
    }
  }

  /// Records an artifact in the local registry.
  ///
  /// If the root cannot store the layout, this is logged, and the files are served nevertheless.
  ///
  /// - Returns: The layout that has the artifact, if there is one.
  private func write(_ record: ArtifactRecord) async -> (any LocalRepository)? {
    let blobs = LoadedArtifact.blobs(of: record.manifest)
    var home = record.resolution.local?.repository
    // An artifact that only the pool has gets a layout of its own.
    if let local = record.resolution.local, local.isAdditional || local.hasLayout {
      await self.local.adopt(record.reference, local, documents: record.documents, blobs: blobs)
    } else {
      do throws(ContentError) {
        home = try await self.local.record(
          record.reference,
          root: record.resolution.descriptor,
          documents: record.documents,
          blobs: blobs,
          replacesFinal: record.replacesFinal
        ).repository
      } catch {
        log.warning(
          "cannot record an artifact in the local registry",
          metadata: ["reference": "\(record.reference)", "reason": "\(error)"]
        )
      }
    }
    if let config = record.manifest.config, let source = record.source {
      bringConfig(config, source, record.reference)
    }
    return home
  }

  /// Fetches the config in the background, so that the layout is complete once its layers are.
  private func bringConfig(_ config: Descriptor, _ source: any Repository, _ reference: Reference) {
    guard config.size <= Self.configLimit, !local.pool.hasComplete(config) else { return }
    let local = local
    let log = log
    Task {
      do throws(ContentError) {
        // Most artifacts have the config "{}" (image-spec manifest.md, "empty descriptor").
        let empty = Array("{}".utf8)
        let isEmpty = Verification.digest(of: empty, config.digest.algorithm) == config.digest
        let bytes = isEmpty ? empty : try await source.verifiedBytes(of: config, limit: Self.configLimit)
        try await local.keep(bytes, digest: config.digest, for: reference)
        await local.executor.ask { local.sealWhole(with: config.digest) }
      } catch {
        log.info("cannot fetch a config", metadata: ["digest": "\(config.digest)", "reason": "\(error)"])
      }
    }
  }

  /// Loads the artifact of a layout that is mounted by its path.
  ///
  /// - Parameters:
  ///   - layout: An oci-dir or an oci-archive.
  ///   - entry: The entry of its index.
  ///   - label: The name that the user gave.
  /// - Throws: `ContentError`.
  package func load(
    _ layout: any LocalRepository,
    entry: LayoutEntry,
    label: String
  ) async throws(ContentError) -> LoadedArtifact {
    let problems = try await layout.executor.run { () throws(ContentError) in try layout.index().problems }
    for problem in problems {
      log.warning(
        "cannot read a part of a layout",
        metadata: ["layout": "\(layout.origin)", "reason": "\(problem)"]
      )
    }
    let root = try await layout.executor.run { () throws(ContentError) in try entry.descriptor(in: layout) }
    let (documents, manifest, notes) = try await documents(root, layout, nil)
    return try await artifact(
      label: label,
      reference: nil,
      root: root,
      documents: documents,
      manifest: manifest,
      notes: notes,
      layout: layout,
      source: nil,
      isFetched: false,
      isRecorded: false
    )
  }

  private func artifact(
    label: String,
    reference: Reference?,
    root: Descriptor,
    documents: [ManifestDocument],
    manifest: Manifest,
    notes: [String],
    layout: (any LocalRepository)?,
    source: (any Repository)?,
    isFetched: Bool,
    isRecorded: Bool
  ) async throws(ContentError) -> LoadedArtifact {
    let bytes = BlockingLayerBytes(
      store: store,
      layout: layout,
      source: source,
      reference: reference,
      unpacker: unpacker
    )
    guard let document = documents.last else { throw ContentError(.invalid, label, "no manifest found") }
    let times = await recordedTimes(manifest, document.descriptor.digest)
    let tree = try await trees.load(manifest, bytes: bytes, times: times)
    report(notes, tree.problems, label)
    try checkComplete(tree, label)
    return LoadedArtifact(
      label: label,
      reference: reference,
      root: root,
      document: document,
      manifest: manifest,
      packaging: TreeLoader.packaging(of: manifest),
      notes: notes,
      tree: tree,
      layout: layout,
      source: source,
      unpacked: bytes.sources,
      isFetched: isFetched,
      isRecorded: isRecorded
    )
  }

  private func report(_ notes: [String], _ problems: [String], _ label: String) {
    for note in notes {
      log.notice(
        "an artifact was selected from an index",
        metadata: ["artifact": "\(label)", "reason": "\(note)"]
      )
    }
    for problem in problems {
      log.warning(
        "a file of an artifact is omitted or has another name",
        metadata: ["artifact": "\(label)", "reason": "\(problem)"]
      )
    }
  }

  /// Logs the missing shards of split models.
  ///
  /// - Throws: `ContentError` if the settings require complete models.
  private func checkComplete(_ tree: FileTree, _ label: String) throws(ContentError) {
    let missing = tree.missingShards
    guard let first = missing.first else { return }
    let reason =
      "shards of a split model are missing: \(ForeignText.visible(first))"
      + (missing.count > 1 ? " and \(missing.count - 1) more" : "")
    guard !requiresComplete else { throw ContentError(.corrupt, label, reason) }
    log.warning("an artifact is incomplete", metadata: ["artifact": "\(label)", "reason": "\(reason)"])
  }
}
