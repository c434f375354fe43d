import Stores
import BlobCache
package import Layouts
import ArtifactTree
package import Content
package import Fetching
package import LocalRegistry
package import Logging
package import OCI

/// Reads manifests and makes trees, each artifact once for all who ask.
package actor ArtifactLoader {
  private struct Key: Hashable {
    let reference: Reference
    let digest: Digest
  }

  private let local: LocalRegistry
  private let remote: any RepositoryProvider
  private let store: BlobStore
  private let trees: TreeLoader
  private let indexes: TarIndexCache
  private let firstBytes = FirstBytes()
  private let isOffline: Bool
  private let log: Logger
  private var known: [Key: LoadedArtifact] = [:]
  private var order: [Key] = []
  /// Grows with each blob that turned out wrong.
  private var generation = 0
  private var pending: [Key: Task<Result<LoadedArtifact, ContentError>, Never>] = [:]

  /// What the known artifacts take, bytes.
  private var memory = 0

  // Open directories hold their artifacts themselves; this many more are kept for look-ups that come later, and no more
  // than so many bytes of them.
  private static let limit = 4096
  private let memoryLimit: Int
  // Configs of images have some kilobytes; what is larger comes when it is read.
  private static let configLimit: Int64 = 1 << 20

  /// Makes a loader.
  ///
  /// - Parameters:
  ///   - local: where manifests are kept.
  ///   - remote: where they are fetched from.
  ///   - store: gives the bytes of layers.
  ///   - isOffline: whether no network is to be used.
  ///   - log: for what a user should know.
  ///   - memoryLimit: of what is kept for later look-ups, bytes.
  package init(
    local: LocalRegistry,
    remote: any RepositoryProvider,
    store: BlobStore,
    isOffline: Bool,
    log: Logger,
    memoryLimit: Int = 32 << 20
  ) {
    self.memoryLimit = memoryLimit
    self.local = local
    self.remote = remote
    self.store = store
    self.isOffline = isOffline
    self.log = log
    // A parser waits for bytes, and those for the disk's threads: it has threads of its own.
    indexes = TarIndexCache(executor: BlockingExecutor(label: "weightfs.parse", threads: 4))
    trees = TreeLoader(indexes: indexes, firstBytes: firstBytes)
  }

  /// Loads an artifact.
  ///
  /// - Parameters:
  ///   - reference: what it is called.
  ///   - resolution: what the reference stands for.
  ///   - isRecorded: whether the local registry is to have it from now on.
  ///   - replacesFinal: what was loaded or put there gives way: a `pull`.
  /// - Throws: `ContentError`.
  package func load(
    _ reference: Reference,
    _ resolution: ReferenceResolver.Resolution,
    isRecorded: Bool = true,
    replacesFinal: Bool = false
  ) async throws(ContentError) -> LoadedArtifact {
    let key = Key(reference: reference, digest: resolution.descriptor.digest)
    let before = generation
    if let artifact = known[key], artifact.layout?.isThere ?? true { return artifact }
    let task: Task<Result<LoadedArtifact, ContentError>, Never>
    if let running = pending[key] {
      task = running
    } else {
      task = Task {
        do throws(ContentError) {
          return .success(try await self.read(reference, resolution, isRecorded: isRecorded, replacesFinal))
        } catch {
          return .failure(error)
        }
      }
      pending[key] = task
    }
    let result = await task.value
    if pending[key] == task { pending[key] = nil }
    let artifact = try result.get()
    // What was read before a blob of it turned out wrong is read anew.
    guard generation == before else {
      return try await load(reference, resolution, isRecorded: isRecorded, replacesFinal: replacesFinal)
    }
    if let before = known.updateValue(artifact, forKey: key) {
      memory -= before.memory
    } else {
      order.append(key)
    }
    memory += artifact.memory
    while order.count > 1, order.count > Self.limit || memory > memoryLimit { drop(order.removeFirst()) }
    return artifact
  }

  /// Whether an artifact can be read without a request: its manifest is on this machine, and the layers that its tree
  /// is read from are.
  ///
  /// - Parameter resolution: what its reference stands for.
  /// - Returns: false also where what is here cannot be read.
  package func isHere(_ resolution: ReferenceResolver.Resolution) async -> Bool {
    let layout = resolution.local?.repository
    do throws(ContentError) {
      let (_, manifest) = try await documents(resolution.descriptor, layout, nil)
      for layer in TreeLoader.layersRead(of: manifest) {
        guard await store.status(layer, layout: layout).presence == .complete else { return false }
      }
      return true
    } catch {
      return false
    }
  }

  /// Forgets what was read of a blob that turned out wrong.
  ///
  /// - Parameter digest: of the blob.
  package func forget(_ digest: Digest) async {
    generation += 1
    pending = [:]
    await indexes.remove(digest)
    await firstBytes.remove(digest)
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
    isRecorded: Bool,
    _ replacesFinal: Bool
  ) async throws(ContentError) -> LoadedArtifact {
    let source = isOffline ? nil : remote.repository(reference.repository)
    let layout = resolution.local?.repository
    let (documents, manifest) = try await documents(resolution.descriptor, layout, source)
    let blobs = LoadedArtifact.blobs(of: manifest)
    var home = layout
    // What only the pool has gets a layout of its own.
    if let local = resolution.local, local.isAdditional || local.hasLayout {
      await self.local.adopt(reference, local, documents: documents, blobs: blobs)
    } else if isRecorded {
      // A root that cannot take the layout is told of; the files are served all the same.
      do throws(ContentError) {
        home = try await self.local.record(
          reference,
          root: resolution.descriptor,
          documents: documents,
          blobs: blobs,
          replacesFinal: replacesFinal
        ).repository
      } catch {
        log.warning(
          "an artifact cannot be recorded in the local registry",
          metadata: ["reference": "\(reference)", "reason": "\(error)"]
        )
      }
    }
    if isRecorded, let config = manifest.config, let source { bringConfig(config, source, reference) }
    return try await artifact(
      label: "\(reference)",
      reference: reference,
      root: resolution.descriptor,
      documents: documents,
      manifest: manifest,
      layout: home,
      source: source,
      isFetched: resolution.local?.wasFetched ?? true
    )
  }

  /// Brings the config beside the manifest, so that the layout is whole once its layers are.
  ///
  /// Nobody waits for it.
  private func bringConfig(_ config: Descriptor, _ source: any Repository, _ reference: Reference) {
    guard config.size <= Self.configLimit, !local.pool.hasComplete(config) else { return }
    let local = local
    let log = log
    Task {
      do throws(ContentError) {
        // "{}" is what most artifacts have (image-spec manifest.md, "empty descriptor").
        let empty = Array("{}".utf8)
        let isEmpty = Verification.digest(of: empty, config.digest.algorithm) == config.digest
        let bytes = isEmpty ? empty : try await source.verifiedBytes(of: config, limit: Self.configLimit)
        try await local.keep(bytes, digest: config.digest, for: reference)
        await local.executor.ask { local.sealWhole(with: config.digest) }
      } catch {
        log.info("a config was not fetched", metadata: ["digest": "\(config.digest)", "reason": "\(error)"])
      }
    }
  }

  /// Loads the artifact of a layout that is mounted by its path.
  ///
  /// - Parameters:
  ///   - layout: an oci-dir or an oci-archive.
  ///   - entry: of its index.
  ///   - label: what the user calls it.
  /// - Throws: `ContentError`.
  package func load(
    _ layout: any LocalRepository,
    entry: LayoutEntry,
    label: String
  ) async throws(ContentError) -> LoadedArtifact {
    let problems = try await layout.executor.run { () throws(ContentError) in try layout.index().problems }
    for problem in problems {
      log.warning(
        "part of a layout cannot be read",
        metadata: ["layout": "\(layout.origin)", "reason": "\(problem)"]
      )
    }
    let root = try await layout.executor.run { () throws(ContentError) in try entry.descriptor(in: layout) }
    let (documents, manifest) = try await documents(root, layout, nil)
    return try await artifact(
      label: label,
      reference: nil,
      root: root,
      documents: documents,
      manifest: manifest,
      layout: layout,
      source: nil,
      isFetched: false
    )
  }

  private func artifact(
    label: String,
    reference: Reference?,
    root: Descriptor,
    documents: [ManifestDocument],
    manifest: Manifest,
    layout: (any LocalRepository)?,
    source: (any Repository)?,
    isFetched: Bool
  ) async throws(ContentError) -> LoadedArtifact {
    let bytes = BlockingLayerBytes(store: store, layout: layout, source: source, reference: reference)
    let tree = try await trees.load(manifest, bytes: bytes)
    for problem in tree.problems {
      log.warning(
        "part of an artifact is shown differently",
        metadata: ["artifact": "\(label)", "reason": "\(problem)"]
      )
    }
    guard let document = documents.last else { throw ContentError(.invalid, label, "there is no manifest") }
    return LoadedArtifact(
      label: label,
      reference: reference,
      root: root,
      document: document,
      manifest: manifest,
      tree: tree,
      layout: layout,
      source: source,
      isFetched: isFetched
    )
  }

  /// The indexes that lead to a manifest, and the manifest last.
  private func documents(
    _ root: Descriptor,
    _ layout: (any LocalRepository)?,
    _ source: (any Repository)?
  ) async throws(ContentError) -> (documents: [ManifestDocument], manifest: Manifest) {
    try await ManifestPath.follow(root) { (next) async throws(ContentError) in
      try await document(next, layout, source)
    }
  }

  private func document(
    _ descriptor: Descriptor,
    _ layout: (any LocalRepository)?,
    _ source: (any Repository)?
  ) async throws(ContentError) -> ManifestDocument {
    let pool = local.poolRepository
    var failure: ContentError?
    for repository in [layout, pool, source] as [(any Repository)?] {
      guard let repository else { continue }
      do throws(ContentError) {
        return try await repository.document(descriptor)
      } catch {
        // A layout that lacks a manifest, or has a damaged one, is mended from the next place.
        if failure == nil || repository.origin == source?.origin { failure = error }
      }
    }
    throw failure
      ?? ContentError(.offline, "\(descriptor.digest)", "the manifest is not in the local registry")
  }
}
