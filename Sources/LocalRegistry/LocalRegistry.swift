package import Content
import Glibc
package import Logging
package import OCI
import Synchronization
package import SystemPackage
package import Telemetry

/// The artifacts on this machine: those of the root, and those of additional stores, which come first.
package final class LocalRegistry: Sendable {
  package let root: RegistryRoot
  package let pool: BlobPool
  package let materialized: MaterializedFiles
  /// Runs what waits for the disk.
  package let executor: BlockingExecutor
  private let stores: [AdditionalStore]
  private let metrics: Metrics
  private let log: Logger
  private let state = Mutex(State())

  private struct State {
    /// The layouts that want a blob once it is complete.
    var wanted: [Digest: Set<String>] = [:]
    /// Stores that were found unreadable, so that each is told of once and again after it was well.
    var unreadable: Set<String> = []
  }

  /// Opens a root, making it where it is not there.
  ///
  /// - Parameters:
  ///   - root: where.
  ///   - additionalStores: paths, the first before the others.
  ///   - metrics: where skipped stores are counted.
  ///   - log: for what a user should know.
  ///   - bootIdentifier: 16 bytes; nil for those of the machine.
  /// - Throws: `ContentError` with `disk` where the root cannot be written.
  package init(
    root: RegistryRoot,
    additionalStores: [FilePath],
    metrics: Metrics,
    log: Logger,
    bootIdentifier: [UInt8]? = nil
  ) throws(ContentError) {
    do throws(Errno) {
      try root.prepare()
    } catch .notSupported {
      throw ContentError(
        .disk,
        "\(root.path)",
        "the local registry cannot be on NFS",
        advice: "Choose a local disk with --registry-root; folders on NFS can be read with --additional-store"
      )
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
    self.root = root
    materialized = MaterializedFiles(root: root)
    let executor = BlockingExecutor(label: "weightfs.disk", threads: 8)
    self.executor = executor
    self.metrics = metrics
    self.log = log
    pool = BlobPool(root: root, bootIdentifier: bootIdentifier ?? BlobPool.currentBootIdentifier())
    stores = additionalStores.map { AdditionalStore(path: $0, executor: executor) }
  }

  /// The pool as a repository: manifests by digest, whatever reference they were fetched for.
  package var poolRepository: any LocalRepository { PoolRepository(pool: pool, executor: executor) }

  private var tree: RegistryTree { RegistryTree(path: root.path, executor: executor) }

  /// Looks a reference up: additional stores in their order, then the root.
  ///
  /// - Parameter reference: with a tag or a digest.
  /// - Returns: nil where there is none.
  /// - Throws: `ContentError` where the root's own layout is damaged.
  package func artifact(_ reference: Reference) async throws(ContentError) -> LocalArtifact? {
    try await executor.run { () throws(ContentError) in try self.find(reference) }
  }

  private func find(_ reference: Reference) throws(ContentError) -> LocalArtifact? {
    for store in stores {
      if let found = attempt(store, { () throws(ContentError) in try store.artifact(reference) }), let found {
        return found
      }
    }
    if let repository = try tree.repository(reference) {
      let entry = try tree.entry(reference, in: repository)
      let record = OriginRecord.read(root, reference)
      if let entry {
        return LocalArtifact(
          descriptor: entry,
          repository: repository,
          wasFetched: record?.digest == entry.digest || record?.previous == entry.digest,
          isAdditional: false
        )
      }
    }
    // A digest that some tag of this root stood for: its manifest is in the pool.
    guard case .digest(let digest) = reference.target, Disk.exists(root.blob(digest)),
      let bytes = try Disk.contents(of: root.blob(digest), limit: Int(ManifestDocument.maximumSize)),
      Verification.digest(of: bytes, digest.algorithm) == digest,
      let document = try? ManifestDocument(bytes: bytes, digest: digest, declared: nil)
    else { return nil }
    return LocalArtifact(
      descriptor: document.descriptor,
      repository: poolRepository,
      wasFetched: true,
      isAdditional: false
    )
  }

  private func attempt<Value>(_ store: AdditionalStore, _ body: () throws(ContentError) -> Value) -> Value? {
    do throws(ContentError) {
      let value = try body()
      _ = state.withLock { $0.unreadable.remove(store.path.string) }
      return value
    } catch {
      metrics.skippedStores.add()
      if state.withLock({ $0.unreadable.insert(store.path.string).inserted }) {
        log.warning(
          "an additional store cannot be read and is passed over",
          metadata: ["store": "\(store.path)", "reason": "\(error)"]
        )
      }
      return nil
    }
  }

  /// The registries that something is known of.
  package func registries() async -> [String] {
    let result: Set<String>? = try? await executor.run { () throws(ContentError) in
      var found = Set((try? self.tree.registries()) ?? [])
      for store in self.stores {
        found.formUnion(self.attempt(store) { () throws(ContentError) in try store.registries() } ?? [])
      }
      return found
    }
    return (result ?? []).sorted()
  }

  /// What is known below a prefix.
  ///
  /// - Parameters:
  ///   - registry: its host.
  ///   - components: of the path, perhaps none.
  /// - Returns: what was asked for.
  package func children(registry: String, components: [String]) async -> LocalChildren {
    let result: LocalChildren? = try? await executor.run { () throws(ContentError) in
      var found = (try? self.tree.children(registry: registry, components: components)) ?? LocalChildren()
      if let name = RepositoryName(registry: registry, path: components.joined(separator: "/")) {
        for case .tag(let tag) in found.targets {
          let reference = Reference(repository: name, target: .tag(tag))
          if OriginRecord.read(self.root, reference) != nil { found.fetched.insert(tag) }
        }
      }
      for store in self.stores {
        let more = self.attempt(store) { () throws(ContentError) in
          try store.children(registry: registry, components: components)
        }
        if let more { found.formUnion(more) }
      }
      return found
    }
    return result ?? LocalChildren()
  }

  /// Every artifact that is known here, those of additional stores first; one mention each.
  package func references() async -> [Reference] {
    var found: [Reference] = []
    for registry in await registries() {
      var open: [[String]] = [[]]
      while let components = open.popLast() {
        let children = await children(registry: registry, components: components)
        // A folder that leads in a circle ends at the depth that a name can have.
        if components.count < 64 {
          open += children.components.sorted(by: >).map { components + [$0] }
        }
        guard let name = RepositoryName(registry: registry, path: components.joined(separator: "/")) else {
          continue
        }
        found += children.targets.sorted { "\($0)" < "\($1)" }.map { Reference(repository: name, target: $0) }
      }
    }
    return found
  }

  /// Records what a registry said of a reference: the oci-dir, and that weightfs fetched it.
  ///
  /// - Parameters:
  ///   - reference: what was resolved.
  ///   - descriptor: what it stands for.
  ///   - documents: the manifest, and the indexes above it.
  ///   - blobs: config and layers.
  /// - Returns: what was asked for.
  /// - Throws: `ContentError`.
  package func record(
    _ reference: Reference,
    root descriptor: Descriptor,
    documents: [ManifestDocument],
    blobs: [Descriptor]
  ) async throws(ContentError) -> LocalArtifact {
    try await executor.run { () throws(ContentError) in
      let place = self.root.path.appending(ReferencePath.path(of: reference))
      do throws(Errno) {
        let lock = try FileLock(waitingFor: self.root.locks.appending("reference"))
        defer { withExtendedLifetime(lock) {} }
        let before = OriginRecord.read(self.root, reference)
        let isThere = OCIDirectory.exists(at: place)
        try self.noteOrigin(reference, descriptor, previous: before?.digest)
        if !isThere || before?.digest != descriptor.digest {
          try self.write(place, reference, descriptor, documents, blobs)
        }
      } catch {
        throw ContentError(.disk, "\(place)", error)
      }
      self.want(blobs, in: place)
      let layout = OCIDirectory(path: place, executor: self.executor)
      return LocalArtifact(descriptor: descriptor, repository: layout, wasFetched: true, isAdditional: false)
    }
  }

  private func write(
    _ place: FilePath,
    _ reference: Reference,
    _ descriptor: Descriptor,
    _ documents: [ManifestDocument],
    _ blobs: [Descriptor]
  ) throws(Errno) {
    do throws(ContentError) {
      try LayoutWriter(pool: pool, path: place).write(
        root: descriptor,
        documents: documents,
        name: "\(reference)",
        blobs: blobs
      )
    } catch {
      log.warning("an oci-dir cannot be written", metadata: ["path": "\(place)", "reason": "\(error)"])
      throw Errno.ioError
    }
  }

  private func noteOrigin(
    _ reference: Reference,
    _ descriptor: Descriptor,
    previous: Digest?
  ) throws(Errno) {
    do throws(ContentError) {
      let record = OriginRecord(
        reference: reference,
        descriptor: descriptor,
        previous: previous,
        resolved: Int64(Glibc.time(nil))
      )
      try record.write(root, reference)
    } catch {
      throw Errno.ioError
    }
  }

  /// Notes that a layout lacks blobs, so that each is put there once it is complete.
  private func want(_ blobs: [Descriptor], in layout: FilePath) {
    state.withLock { state in
      for blob in blobs { state.wanted[blob.digest, default: []].insert(layout.string) }
    }
  }

  /// Notes an artifact of the root whose layout may lack blobs, and puts those in place that are complete.
  ///
  /// - Parameters:
  ///   - artifact: as it was found.
  ///   - blobs: config and layers.
  package func adopt(_ artifact: LocalArtifact, blobs: [Descriptor]) async {
    guard artifact.wasFetched, let layout = artifact.repository as? OCIDirectory else { return }
    want(blobs, in: layout.path)
    try? await executor.run { () throws(ContentError) in
      for blob in blobs where self.pool.hasComplete(blob) {
        try self.pool.place(blob.digest, into: layout.path)
      }
    }
  }

  /// Keeps a small blob that is in memory and verified, in the pool and in the layouts that want it.
  ///
  /// - Parameters:
  ///   - bytes: all of it.
  ///   - digest: of the bytes.
  /// - Throws: `ContentError`.
  package func keep(_ bytes: [UInt8], digest: Digest) async throws(ContentError) {
    try await executor.run { () throws(ContentError) in
      try self.pool.store(bytes, digest: digest)
      self.distribute(digest)
    }
  }

  /// Whether a layout lies in this root, so that its blobs are links to the pool's and may be replaced.
  ///
  /// - Parameter layout: an oci-dir.
  /// - Returns: true if so.
  package func owns(_ layout: OCIDirectory) -> Bool { layout.path.starts(with: root.path) }

  /// Takes a damaged blob out of a layout of this root.
  ///
  /// - Parameters:
  ///   - digest: of the blob.
  ///   - layout: where it lies.
  package func remove(_ digest: Digest, from layout: OCIDirectory) {
    guard owns(layout) else { return }
    try? Disk.remove(
      layout.path.appending("blobs").appending(digest.algorithm.rawValue).appending(digest.hex)
    )
  }

  /// Puts a blob that was just committed into the layouts that want it.
  ///
  /// A layout that cannot take it stays a layout with a blob missing.
  ///
  /// - Parameter digest: of the blob.
  package func distribute(_ digest: Digest) {
    for layout in state.withLock({ $0.wanted[digest] ?? [] }) {
      do throws(ContentError) {
        try pool.place(digest, into: FilePath(layout))
      } catch {
        log.warning(
          "a blob cannot be put into a layout",
          metadata: ["layout": "\(layout)", "reason": "\(error)"]
        )
      }
    }
  }
}

/// The pool as the repository of a manifest that no layout of this root names.
private struct PoolRepository: LocalRepository {
  let pool: BlobPool
  let executor: BlockingExecutor

  var origin: String { pool.root.path.string }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    do throws(Errno) {
      return try BlobFile.open(pool.root.blob(digest))
    } catch {
      throw ContentError(.disk, "\(pool.root.blob(digest))", error)
    }
  }

  func index() throws(ContentError) -> Index { Index(manifests: []) }
}
