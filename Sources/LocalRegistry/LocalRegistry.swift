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

/// The artifacts on this machine: those of the root, and those of additional stores, which come first.
package final class LocalRegistry: Sendable {
  package let root: RegistryRoot
  package let pool: BlobPool
  package let materialized: MaterializedFiles
  /// Room for blobs.
  package let space: CacheSpace
  package let pins: Pins
  /// Runs what waits for the disk.
  package let executor: BlockingExecutor
  let stores: [AdditionalStore]
  let references: BlobReferences
  /// Whether artifacts become archives once their last blob is here.
  let sealsWhole: Bool
  private let tagged = TaggedFolders()
  let metrics: Metrics
  let log: Logger
  private let state = Mutex(State())

  private struct State {
    /// Stores that were found unreadable, so that each is told of once and again after it was well.
    var unreadable: Set<String> = []
    /// Entries of layouts that were told of.
    var toldEntries: Set<String> = []
  }

  /// Opens a root, making it where it is not there.
  ///
  /// - Parameters:
  ///   - root: where.
  ///   - additionalStores: paths, the first before the others.
  ///   - metrics: where skipped stores are counted.
  ///   - log: for what a user should know.
  ///   - limits: of what blobs take.
  ///   - sealsWhole: whether fetched artifacts become archives once their last blob is here.
  ///   - bootIdentifier: 16 bytes; nil for those of the machine.
  /// - Throws: `ContentError` with `disk` where the root cannot be written.
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
    references = BlobReferences(root: root)
    stores = additionalStores.map { AdditionalStore(path: $0, executor: executor) }
    removeLeftovers(dryRun: false)
  }

  /// Makes the directories of a root, and tells of one that others can read.
  private static func prepare(_ root: RegistryRoot, _ log: Logger) throws(ContentError) {
    do throws(Errno) {
      try root.prepare()
    } catch .notSupported {
      throw ContentError(
        .disk,
        "\(root.path)",
        "the local registry cannot be on NFS",
        advice: "Choose a local disk with --registry-root; folders on NFS can be read with --additional-store"
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
          "advice": "chmod go= \(root.path)/.weightfs keeps them out; --shared-root says that it is meant",
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
      "the local registry cannot be written: \(error)",
      advice:
        "To read it, name it with --additional-store, and choose a root of your own with --registry-root"
    )
  }

  /// The pool as a repository: manifests by digest, whatever reference they were fetched for.
  package var poolRepository: any LocalRepository { PoolRepository(pool: pool, executor: executor) }

  var tree: RegistryTree { RegistryTree(path: root.path, executor: executor, tagged: tagged) }

  /// Looks a reference up: additional stores in their order, then the root.
  ///
  /// - Parameter reference: with a tag or a digest.
  /// - Returns: nil where there is none.
  /// - Throws: `ContentError` where the root's own layout is damaged.
  package func artifact(_ reference: Reference) async throws(ContentError) -> LocalArtifact? {
    try await executor.run { () throws(ContentError) in try self.find(reference) }
  }

  /// What a read-only store has under a name.
  func additionalArtifact(_ reference: Reference) -> LocalArtifact? {
    for store in stores {
      if let found = attempt(store, { () throws(ContentError) in try store.artifact(reference) }), let found {
        return found
      }
    }
    return nil
  }

  /// A blob that an additional store has, whatever artifact it belongs to there: it is used where it lies.
  ///
  /// - Parameters:
  ///   - digest: of the blob.
  ///   - size: bytes; nil for whatever is there.
  /// - Returns: nil where none has one of that size.
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

  /// What the root itself has under a name.
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

  /// Names a symbolic link on the way to the layout of a reference: links inside the root are not followed.
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

  /// What no layout has: a digest that some tag of this root stood for, or a tag whose name a folder cannot have.
  private func findInPool(_ reference: Reference) throws(ContentError) -> LocalArtifact? {
    let known: Digest? =
      switch reference.target {
      case .digest(let digest): digest
      case .tag: OriginRecord.read(root, reference)?.digest
      }
    guard let digest = known, Disk.exists(root.blob(digest)),
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

  /// Tells once of entries that are passed over.
  private func note(_ problems: [String], of origin: String) {
    for problem in problems {
      let isNews = state.withLock { state in
        if state.toldEntries.count >= Self.toldLimit { state.toldEntries = [] }
        return state.toldEntries.insert("\(origin) \(problem)").inserted
      }
      guard isNews else { continue }
      log.warning(
        "part of a layout cannot be read",
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
          "an additional store cannot be read and is passed over",
          metadata: ["store": "\(store.path)", "reason": "\(error)"]
        )
      }
      return nil
    }
  }

  /// Keeps a small blob that is in memory and verified, in the pool and in the layouts that want it.
  ///
  /// - Parameters:
  ///   - bytes: all of it.
  ///   - digest: of the bytes.
  ///   - reference: of the artifact that it was fetched for; nil for none.
  /// - Throws: `ContentError`.
  package func keep(_ bytes: [UInt8], digest: Digest, for reference: Reference?) async throws(ContentError) {
    try await executor.run { () throws(ContentError) in
      try self.pool.store(bytes, digest: digest)
      if let reference { self.noteHolder(reference, of: digest) }
      self.distribute(digest)
    }
  }

  /// Whether a layout lies in this root, so that its blobs are links to the pool's and may be replaced.
  ///
  /// - Parameter layout: an oci-dir.
  package func owns(_ layout: any LocalRepository) -> Bool {
    layout.directory?.starts(with: root.path) ?? false
  }

  /// Takes a damaged file out of every layout that has it, so that a right one can take its place there.
  ///
  /// - Parameters:
  ///   - digest: of the blob.
  ///   - file: that has other bytes.
  package func removeLinks(of digest: Digest, to file: FileIdentity) {
    for reference in references.references(of: digest) {
      let path = root.layout(reference).appending(digest.layoutPath)
      guard let there = try? FileIdentity(at: path), there.isSameFile(as: file) else { continue }
      try? Disk.remove(path)
    }
  }

  /// Takes a damaged blob out of a layout of this root.
  ///
  /// - Parameters:
  ///   - digest: of the blob.
  ///   - layout: where it lies.
  ///   - file: which file is damaged; nil for whichever lies there.
  package func remove(
    _ digest: Digest,
    from layout: any LocalRepository,
    ifItIs file: FileIdentity? = nil
  ) {
    guard owns(layout), let directory = layout.directory else { return }
    if let file, let there = try? FileIdentity(at: directory.appending(digest.layoutPath)),
      !there.isSameFile(as: file)
    {
      return
    }
    try? Disk.remove(directory.appending(digest.layoutPath))
  }

  /// Puts a blob that was just committed into the layouts that want it.
  ///
  /// A layout that cannot take it stays a layout with a blob missing.
  ///
  /// - Parameter digest: of the blob.
  package func distribute(_ digest: Digest) {
    for layout in references.references(of: digest).map({ root.layout($0) })
    where OCIDirectory.exists(at: layout) {
      do throws(ContentError) {
        try pool.place(digest, into: layout)
      } catch {
        log.warning(
          "a blob cannot be put into a layout",
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

/// The pool as the repository of a manifest that no layout of this root names.
private struct PoolRepository: LocalRepository {
  let pool: BlobPool
  let executor: BlockingExecutor

  var origin: String { pool.root.path.string }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    do throws(Errno) {
      let file = try BlobFile.open(pool.root.blob(digest))
      // Who evicts sees that it is in use.
      if let file { try pool.hold(file) }
      return file
    } catch {
      throw ContentError(.disk, "\(pool.root.blob(digest))", error)
    }
  }

  func index() throws(ContentError) -> Index { Index(manifests: []) }
}
