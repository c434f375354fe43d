package import Layouts
package import Stores
package import BlobCache
package import Content
package import Logging
package import OCI
import Locking
package import SystemPackage
package import Telemetry
package import Disk

/// The artifacts on this machine: those of the root, and those of additional stores, which take precedence.
package final class LocalRegistry: Sendable {
  package let root: RegistryRoot
  package let pool: BlobPool
  package let materialized: MaterializedFiles
  /// Reserves space for blobs and evicts them.
  package let space: CacheSpace
  package let pins: Pins
  /// When manifests and blobs were first recorded.
  package let times: RecordTimes
  /// Runs blocking disk operations.
  package let executor: BlockingExecutor
  let stores: [AdditionalStore]
  let references: BlobReferences
  /// Whether artifacts are converted into archives once their last blob is complete.
  let sealsWhole: Bool
  private let tagged = TaggedFolders()
  let metrics: Metrics
  let log: Logger
  private let state = Mutex(State())

  private struct State {
    /// Stores that could not be read, so that each is logged once, and again after it became readable.
    var unreadable: Set<String> = []
    /// Entries of layouts that were logged.
    var toldEntries: Set<String> = []
  }

  /// Opens a root, creating it if it does not exist.
  ///
  /// - Parameters:
  ///   - root: The root.
  ///   - additionalStores: Paths of read-only stores, in order of precedence.
  ///   - metrics: Counts skipped stores.
  ///   - log: Receives messages for the operator.
  ///   - limits: The limits on the space of blobs.
  ///   - sealsWhole: Whether fetched artifacts are converted into archives once their last blob is complete.
  ///   - bootIdentifier: 16 bytes; nil for the boot identifier of the machine.
  /// - Throws: `ContentError` of code `disk` if the root cannot be written.
  package init(
    root: RegistryRoot,
    additionalStores: [FilePath],
    metrics: Metrics,
    log: Logger,
    limits: SpaceLimits = SpaceLimits(),
    sealsWhole: Bool = false,
    bootIdentifier: [UInt8]? = nil
  ) throws(ContentError) {
    try Self.prepare(root, log)
    self.root = root
    materialized = MaterializedFiles(root: root)
    let executor = BlockingExecutor(label: "weightfs.disk", threads: 8)
    self.executor = executor
    self.sealsWhole = sealsWhole
    self.metrics = metrics
    self.log = log
    let ledger: SpaceLedger
    do throws(Errno) {
      ledger = try SpaceLedger(root: root, limits: limits)
    } catch {
      throw Self.unusable(root.space, error)
    }
    pool = BlobPool(
      root: root,
      bootIdentifier: bootIdentifier ?? BlobPool.currentBootIdentifier(),
      ledger: ledger
    )
    space = CacheSpace(
      root: root,
      pool: pool,
      ledger: ledger,
      hasLayout: { OCIDirectory.exists(at: root.layout($0)) },
      metrics: metrics,
      log: log
    )
    pins = Pins(root: root)
    times = RecordTimes(root: root)
    references = BlobReferences(root: root)
    stores = additionalStores.map { AdditionalStore(path: $0, executor: executor) }
    removeLeftovers(dryRun: false)
  }

  /// Creates the directories of a root, and logs a root that other users can read.
  private static func prepare(_ root: RegistryRoot, _ log: Logger) throws(ContentError) {
    do throws(Errno) {
      try root.prepare()
    } catch .notSupported {
      throw ContentError(
        .disk,
        "\(root.path)",
        "the local registry cannot be on NFS",
        advice: "Choose a local disk with --registry-root; NFS directories work as --additional-store"
      )
    } catch .tooManySymbolicLinkLevels {
      throw unusable(root.firstLink ?? root.path, .tooManySymbolicLinkLevels)
    } catch {
      throw unusable(root.path, error)
    }
    if root.isOpenToOthers {
      log.notice(
        "other users can read the local registry",
        metadata: [
          "root": "\(root.path)",
          "advice": "'chmod go= \(root.path)' denies access; --shared-root permits it",
        ]
      )
    }
  }

  private static func unusable(_ path: FilePath, _ error: Errno) -> ContentError {
    guard error == .permissionDenied || error == .readOnlyFileSystem || error == .notPermitted else {
      return ContentError(.disk, "\(path)", error)
    }
    return ContentError(
      .disk,
      "\(path)",
      "cannot write to the local registry: \(error)",
      advice:
        "To read it, use --additional-store, and choose your own root with --registry-root"
    )
  }

  /// The pool as a repository: manifests by digest, independent of the reference they were fetched for.
  package var poolRepository: any LocalRepository { PoolRepository(pool: pool, executor: executor) }

  var tree: RegistryTree { RegistryTree(path: root.path, executor: executor, tagged: tagged) }

  /// Finds an artifact: in the additional stores in their order, then in the root.
  ///
  /// - Parameter reference: A reference with a tag or a digest.
  /// - Returns: nil if no place has the artifact.
  /// - Throws: `ContentError` if the root's own layout is damaged.
  package func artifact(_ reference: Reference) async throws(ContentError) -> LocalArtifact? {
    try await executor.run { () throws(ContentError) in try self.find(reference) }
  }

  /// Returns the artifact of that name in a read-only store, or nil.
  func additionalArtifact(_ reference: Reference) -> LocalArtifact? {
    for store in stores {
      if let found = attempt(store, { () throws(ContentError) in try store.artifact(reference) }), let found {
        // An index that cannot be read has named the artifact all the same.
        note((try? found.repository.index().problems) ?? [], of: found.repository.origin)
        return found
      }
    }
    return nil
  }

  /// Opens a blob in an additional store, regardless of the artifact it belongs to; the file is used in
  /// place.
  ///
  /// - Parameters:
  ///   - digest: The digest of the blob.
  ///   - size: The required size in bytes; nil for any.
  /// - Returns: nil if no store has the blob with that size.
  package func storedBlob(_ digest: Digest, size: Int64?) -> BlobFile? {
    for store in stores {
      let file = attempt(store) { () throws(ContentError) in try store.blob(digest) }
      if let file, let file, size ?? file.size == file.size { return file }
    }
    return nil
  }

  func find(_ reference: Reference) throws(ContentError) -> LocalArtifact? {
    if let found = additionalArtifact(reference) { return found }
    return try findOwn(reference)
  }

  /// Returns the artifact of that name in the root, or nil.
  func findOwn(_ reference: Reference) throws(ContentError) -> LocalArtifact? {
    if let repository = try tree.repository(reference) {
      let index = try repository.index()
      note(index.problems, of: repository.origin)
      let entry = tree.entry(reference, in: index)
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
    try refuseLink(to: reference)
    return try findInPool(reference)
  }

  /// Throws an error that names a symbolic link on the path to a layout, as links inside the root are not
  /// followed.
  private func refuseLink(to reference: Reference) throws(ContentError) {
    for spelling in ReferencePath.spellings(of: reference) {
      var place = root.path
      for component in spelling.split(separator: "/") {
        place.append(String(component))
        guard Disk.linkTarget(place) == nil else {
          throw ContentError(.disk, "\(place)", .tooManySymbolicLinkLevels)
        }
        guard Disk.exists(place) else { break }
      }
    }
  }

  /// Finds an artifact without a layout: a digest that a tag of this root resolved to, or a tag that no
  /// directory can be named after.
  private func findInPool(_ reference: Reference) throws(ContentError) -> LocalArtifact? {
    let known: Digest? =
      switch reference.target {
      case .digest(let digest): digest
      case .tag: OriginRecord.read(root, reference)?.digest
      }
    guard let digest = known, Disk.exists(root.blob(digest)),
      let bytes = try Disk.contents(of: root.blob(digest), limit: Int(ManifestDocument.maximumSize)),
      Verification.digest(of: bytes, digest.algorithm) == digest,
      // A document that cannot be read is fetched again.
      let document = try? ManifestDocument(bytes: bytes, digest: digest, declared: nil)
    else { return nil }
    return LocalArtifact(
      descriptor: document.descriptor,
      repository: poolRepository,
      wasFetched: true,
      isAdditional: false
    )
  }

  /// Logs skipped entries, each once.
  private func note(_ problems: [String], of origin: String) {
    for problem in problems {
      let isNews = state.withLock { state in
        if state.toldEntries.count >= Self.toldLimit { state.toldEntries = [] }
        return state.toldEntries.insert("\(origin) \(problem)").inserted
      }
      guard isNews else { continue }
      log.warning(
        "cannot read a part of a layout",
        metadata: ["layout": "\(origin)", "reason": "\(problem)"]
      )
    }
  }

  private static let toldLimit = 10_000

  func attempt<Value>(_ store: AdditionalStore, _ body: () throws(ContentError) -> Value) -> Value? {
    do throws(ContentError) {
      let value = try body()
      _ = state.withLock { $0.unreadable.remove(store.path.string) }
      note(store.problems, of: store.path.string)
      return value
    } catch {
      metrics.skippedStores.add()
      if state.withLock({ $0.unreadable.insert(store.path.string).inserted }) {
        log.warning(
          "additional store skipped, as it cannot be read",
          metadata: ["store": "\(store.path)", "reason": "\(error)"]
        )
      }
      return nil
    }
  }

  /// Stores a small verified blob from memory in the pool and in the layouts of its references.
  ///
  /// - Parameters:
  ///   - bytes: The complete blob.
  ///   - digest: The digest of the bytes.
  ///   - reference: The artifact that the blob was fetched for, or nil.
  /// - Throws: `ContentError`.
  package func keep(_ bytes: [UInt8], digest: Digest, for reference: Reference?) async throws(ContentError) {
    try await executor.run { () throws(ContentError) in
      try self.pool.store(bytes, digest: digest)
      if let reference { self.noteHolder(reference, of: digest) }
      self.distribute(digest)
    }
  }

  /// Whether a layout is in this root, so that its blobs are links to the pool and may be replaced.
  ///
  /// - Parameter layout: A layout.
  package func owns(_ layout: any LocalRepository) -> Bool {
    layout.directory?.starts(with: root.path) ?? false
  }

  /// Removes a damaged file from every layout that has it, so that a verified one can replace it.
  ///
  /// - Parameters:
  ///   - digest: The digest of the blob.
  ///   - file: The damaged file.
  package func removeLinks(of digest: Digest, to file: FileIdentity) {
    for reference in references.references(of: digest) {
      let path = root.layout(reference).appending(digest.layoutPath)
      // A name that was removed meanwhile, or cannot be removed, is found wrong at its next use.
      guard let there = try? FileIdentity(at: path), there.isSameFile(as: file) else { continue }
      try? Disk.remove(path)
    }
  }

  /// Removes a damaged blob from a layout of this root.
  ///
  /// - Parameters:
  ///   - digest: The digest of the blob.
  ///   - layout: The layout.
  ///   - file: The damaged file; nil for any file of the blob.
  package func remove(
    _ digest: Digest,
    from layout: any LocalRepository,
    ifItIs file: FileIdentity? = nil
  ) {
    guard owns(layout), let directory = layout.directory else { return }
    // A name that was removed meanwhile, or cannot be removed, is found wrong at its next use.
    if let file, let there = try? FileIdentity(at: directory.appending(digest.layoutPath)),
      !there.isSameFile(as: file)
    {
      return
    }
    try? Disk.remove(directory.appending(digest.layoutPath))
  }

  /// Links a blob that was just committed into the layouts of its references.
  ///
  /// If this fails for a layout, the layout stays valid, with the blob missing.
  ///
  /// - Parameter digest: The digest of the blob.
  package func distribute(_ digest: Digest) {
    for layout in references.references(of: digest).map({ root.layout($0) })
    where OCIDirectory.exists(at: layout) {
      do throws(ContentError) {
        try pool.place(digest, into: layout)
      } catch {
        log.warning(
          "cannot link a blob into a layout",
          metadata: ["layout": "\(layout)", "reason": "\(error)"]
        )
      }
    }
  }
}

/// The blobs of all additional stores.
struct StoredBlobs: LocalRepository {
  let registry: LocalRegistry

  var executor: BlockingExecutor { registry.executor }
  var origin: String { registry.root.path.string }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? { registry.storedBlob(digest, size: nil) }

  func index() throws(ContentError) -> Index { Index(manifests: []) }
}

/// The pool as the repository of a manifest that is in no layout of this root.
private struct PoolRepository: LocalRepository {
  let pool: BlobPool
  let executor: BlockingExecutor

  var origin: String { pool.root.path.string }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    do throws(Errno) {
      let file = try BlobFile.open(pool.root.blob(digest))
      // Eviction sees that the file is in use.
      if let file { try pool.hold(file) }
      return file
    } catch {
      throw ContentError(.disk, "\(pool.root.blob(digest))", error)
    }
  }

  func index() throws(ContentError) -> Index { Index(manifests: []) }
}
