package import Layouts
import BlobCache
import Disk
package import Content
package import LocalRegistry
package import Logging
package import OCI
import Locking
import SystemPackage
package import Telemetry

/// What somebody who serves blobs must know of them.
package protocol BlobStoreDelegate: AnyObject, Sendable {
  /// A blob's bytes are wrong: reads of it fail from now on. Called before waiting reads are answered.
  ///
  /// - Parameter digest: of the blob.
  func blobTurnedBad(_ digest: Digest)

  /// A blob is whole and verified: its file can be read in place of the blob's parts.
  ///
  /// - Parameter digest: of the blob.
  func blobBecameComplete(_ digest: Digest)

  /// Pages with wrong bytes may be in the kernel's cache. Called after waiting reads were answered.
  ///
  /// - Parameter digest: of the blob.
  func pagesAreWrong(_ digest: Digest)
}

/// Every blob that is being read or fetched, one object a digest.
package final class BlobStore: Sendable {
  package let local: LocalRegistry
  package let policy: FetchPolicy
  package let isOffline: Bool
  let metrics: Metrics
  /// Hashes, which takes a core for seconds: apart from the disk's threads, so that an open does not wait behind it.
  let hashing = BlockingExecutor(label: "weightfs.hash", threads: 2)
  /// Hashes blobs that a reader waits for as a whole, so that none waits behind a large one.
  let hashingSmall = BlockingExecutor(label: "weightfs.hash.small", threads: 1)
  /// Hashes files that weightfs did not write: nobody who fetches waits behind them.
  let foreign = BlockingExecutor(label: "weightfs.check", threads: 1)
  /// Has the kernel build its trees of hashes, which takes as long as reading the blob.
  let sealing = BlockingExecutor(label: "weightfs.verity", threads: 1)
  /// Holds chunks against lists: a reader waits for each.
  let chunking = BlockingExecutor(label: "weightfs.chunk", threads: 2)
  /// Reads headers of models.
  let parsing = BlockingExecutor(label: "weightfs.header", threads: 1)
  let scheduler = FetchScheduler()
  /// Memory for bytes that the disk has no room for.
  let unkept = UnkeptBytes.Budget(limit: 64 << 20)
  /// Memory for bytes on their way to the disk; what comes beyond it goes there at once.
  let buffers = AppendBufferPool(capacity: Int(BlobIngest.pieceSize), limit: 24, kept: 4)
  /// For failures that come again with each request of a reader.
  let limiter = MessageLimiter()
  let lists: ChunkListStore
  package let log: Logger
  /// How often waits are looked at.
  let watchInterval: Duration = .milliseconds(100)
  private let state = Mutex(State())

  private struct Refusal: Sendable {
    var until: ContinuousClock.Instant
    var delay: Duration
    var error: ContentError
    /// Whose bytes they were.
    var origins: Set<String>
  }

  private struct Weak: Sendable {
    weak var blob: LazyBlob?
  }

  private struct State {
    var blobs: [Digest: Weak] = [:]
    /// Blobs with something under way live without a reader.
    var kept: [Digest: LazyBlob] = [:]
    var refusals: [Digest: Refusal] = [:]
    /// Files of layouts and stores whose bytes were found wrong.
    var badFiles: Set<FileIdentity> = []
    var recordings: [Digest: Recording] = [:]
    /// Lists that could not be had, and until when they are not asked for.
    var missingLists: [Digest: ContinuousClock.Instant] = [:]
    weak var delegate: (any BlobStoreDelegate)?
  }

  /// Makes a store.
  ///
  /// - Parameters:
  ///   - local: where blobs are kept.
  ///   - policy: what is fetched and verified when.
  ///   - isOffline: whether no network is to be used.
  ///   - metrics: where blobs are counted.
  ///   - log: for what a user should know.
  package init(local: LocalRegistry, policy: FetchPolicy, isOffline: Bool, metrics: Metrics, log: Logger) {
    self.local = local
    lists = ChunkListStore(root: local.root)
    self.policy = policy
    self.isOffline = isOffline
    self.metrics = metrics
    self.log = log
  }

  /// Who is told of bad blobs.
  package var delegate: (any BlobStoreDelegate)? {
    get { state.withLock { $0.delegate } }
    set { state.withLock { $0.delegate = newValue } }
  }

  /// Opens a blob for reading.
  ///
  /// - Parameters:
  ///   - descriptor: of the blob.
  ///   - layout: where it may lie already, apart from the pool.
  ///   - source: where it can be fetched from.
  ///   - reference: of the artifact by which it is opened; nil for one that has no name in the local registry.
  /// - Returns: the one object for the blob, shared with all who have it open.
  /// - Throws: `ContentError` where it is known to be wrong or the disk fails.
  package func open(
    _ descriptor: Descriptor,
    layout: (any LocalRepository)?,
    source: (any Repository)?,
    reference: Reference? = nil
  ) async throws(ContentError) -> LazyBlob {
    guard descriptor.size <= Self.largestBlob else {
      throw ContentError(
        .invalid,
        "\(descriptor.digest)",
        "blob size \(descriptor.size) exceeds the limit of 4 TiB"
      )
    }
    if let error = refusal(of: descriptor.digest, source?.origin ?? layout?.origin) { throw error }
    let blob: LazyBlob
    let (known, rejected) = try known(descriptor)
    if let known {
      blob = known
    } else {
      let canFetch = source != nil
      let phase = try await local.executor.run { () throws(ContentError) in
        try self.phase(descriptor, layout, canFetch: canFetch)
      }
      blob = state.withLock { state in
        if let other = state.blobs[descriptor.digest]?.blob, other !== rejected,
          other.descriptor.size == descriptor.size
        {
          return other
        }
        let made = LazyBlob(descriptor, phase: phase, store: self)
        state.blobs[descriptor.digest] = Weak(blob: made)
        return made
      }
    }
    if let source { blob.addSource(source) }
    if let reference, blob.isFirstOpen(by: reference) {
      let (local, digest) = (local, descriptor.digest)
      await local.executor.ask { local.noteHolder(reference, of: digest) }
    }
    await noteUse(of: blob)
    await findList(for: blob, descriptor, source)
    await blob.prepareProfile()
    blob.handle(.checkWanted)
    blob.verifyIfWhole()
    return blob
  }

  /// Notes a use for who evicts, and whether there can be room for the rest.
  private func noteUse(of blob: LazyBlob) async {
    guard blob.isUseDue(at: .now) else { return }
    let missing = blob.descriptor.size - blob.status.cachedBytes
    let space = local.space
    let mayFill = await local.executor.ask {
      space.touch(blob.descriptor.digest)
      return missing == 0 || (try? space.couldHold(missing)) ?? true
    }
    blob.noteSpace(mayFill: mayFill)
    if blob.verifiedFile != nil {
      let (pool, digest) = (local.pool, blob.descriptor.digest)
      sealing.start { pool.protect(digest) }
    }
  }

  /// Looks for a list that the blob's chunks can be held against: of an earlier verification, or named by the manifest.
  private func findList(for blob: LazyBlob, _ descriptor: Descriptor, _ source: (any Repository)?) async {
    let named = Self.namedList(descriptor)
    guard blob.needsList(named?.digest) else { return }
    let own = await local.executor.ask { self.lists.read(descriptor) }
    if let own { return blob.adopt(own, named: nil, isOwn: true) }
    guard let named else { return blob.adopt(nil, named: nil, isOwn: false) }
    var list = await local.executor.ask { self.lists.read(descriptor, list: named.digest) }
    let now = ContinuousClock.now
    if list == nil, state.withLock({ $0.missingLists[named.digest].map { $0 < now } ?? true }) {
      list = await fetchList(named, of: descriptor, source)
      let until: ContinuousClock.Instant? = list == nil ? now + Self.missingListMemory : nil
      state.withLock { $0.missingLists[named.digest] = until }
    }
    blob.adopt(list, named: named.digest, isOwn: false)
  }

  // A registry that has lost a list, or is not there, is not asked at each open.
  private static let missingListMemory: Duration = .seconds(60)

  private func fetchList(
    _ named: Descriptor,
    of descriptor: Descriptor,
    _ source: (any Repository)?
  ) async -> ChunkList? {
    guard let source else { return nil }
    do throws(ContentError) {
      let bytes = try await source.verifiedBytes(of: named, limit: Self.longestList)
      guard let size = Self.chunkSize(descriptor),
        let list = ChunkList(bytes, blobSize: descriptor.size, chunkSize: size)
      else { return nil }
      // A list that cannot be kept is fetched again.
      _ = try? await local.executor.run { () throws(ContentError) in
        try self.lists.write(list, of: descriptor.digest, list: named.digest)
      }
      return list
    } catch {
      log.warning(
        "the list of a blob's chunks cannot be had; it is verified as a whole",
        metadata: ["blob": "\(descriptor.digest)", "list": "\(named.digest)", "reason": "\(error)"]
      )
      return nil
    }
  }

  // 32 bytes for each MiB of the largest blob.
  private static let longestList: Int64 = 128 << 20

  private static func chunkSize(_ blob: Descriptor) -> Int64? {
    blob.annotations[ChunkList.sizeAnnotation].flatMap { Int64($0) }.flatMap {
      ChunkList.isUsable(chunkSize: $0) ? $0 : nil
    }
  }

  /// The list that a layer's annotations name: the manifest's digest covers them.
  private static func namedList(_ blob: Descriptor) -> Descriptor? {
    guard let digest = blob.annotations[ChunkList.digestAnnotation].flatMap({ Digest($0) }),
      let chunkSize = chunkSize(blob)
    else { return nil }
    return Descriptor(
      mediaType: ChunkList.mediaType,
      digest: digest,
      size: ChunkList.size(blobSize: blob.size, chunkSize: chunkSize)
    )
  }

  // 4 TiB: some ten times the largest model; the map of a partial blob has a byte for each 64 KiB.
  static let largestBlob: Int64 = 4 << 40

  /// The object of a digest, and one that may not be used again: bad, or its file removed or replaced.
  private func known(
    _ descriptor: Descriptor
  ) throws(ContentError) -> (usable: LazyBlob?, rejected: LazyBlob?) {
    guard let blob = state.withLock({ $0.blobs[descriptor.digest]?.blob }) else { return (nil, nil) }
    if blob.badness != nil { return (nil, blob) }
    guard blob.descriptor.size == descriptor.size else {
      throw ContentError(
        .corrupt,
        "\(descriptor.digest)",
        "one manifest says the blob has \(descriptor.size) bytes, another \(blob.descriptor.size)"
      )
    }
    if let file = blob.completeFile, !file.isInPlace { return (nil, blob) }
    return (blob, nil)
  }

  func isKnownBad(_ file: BlobFile, _ digest: Digest) -> Bool {
    state.withLock { $0.badFiles.contains(file.identity) }
      || VerificationRecords(root: local.root).isDamaged(file, digest)
  }

  /// The object of a blob that somebody has open.
  func openBlob(_ digest: Digest) -> LazyBlob? { state.withLock { $0.blobs[digest]?.blob } }

  func noteBadFile(_ identity: FileIdentity) { _ = state.withLock { $0.badFiles.insert(identity) } }

  /// Waits until what is known of verified blobs is on the disk: the lists of their chunks.
  ///
  /// For commands, which end when their work is done.
  package func settle() async { await foreign.ask {} }

  // MARK: Life of the objects

  func keep(_ blob: LazyBlob) {
    state.withLock { $0.kept[blob.descriptor.digest] = blob }
  }

  func releaseIfIdle(_ blob: LazyBlob) {
    guard blob.isIdle else { return }
    // The last reference may go here: it must not go with the lock held.
    let released = state.withLock { state in
      state.kept[blob.descriptor.digest] === blob
        ? state.kept.removeValue(forKey: blob.descriptor.digest) : nil
    }
    withExtendedLifetime(released) {}
  }

  // MARK: Recordings

  /// The recording of a blob; it begins with the first who asks.
  func recording(of blob: Descriptor, _ profiles: AccessProfileStore) -> Recording {
    let (recording, isNew) = state.withLock { state in
      if let known = state.recordings[blob.digest], known.blob.size == blob.size { return (known, false) }
      let made = Recording(blob, profiles)
      state.recordings[blob.digest] = made
      return (made, true)
    }
    guard isNew else { return recording }
    Task {
      await recording.run(on: local.executor)
      self.state.withLock { state in
        if state.recordings[blob.digest] === recording { state.recordings[blob.digest] = nil }
      }
    }
    return recording
  }

  func isCurrent(_ recording: Recording, of blob: Digest) -> Bool {
    state.withLock { $0.recordings[blob] === recording }
  }

  // MARK: Bad blobs

  func refuse(_ digest: Digest, _ origins: Set<String>, _ error: ContentError) {
    state.withLock { state in
      let before = state.refusals[digest]?.delay
      let delay = before.map { min($0 * 2, .seconds(3600)) } ?? policy.firstRefusal
      state.refusals[digest] = Refusal(
        until: ContinuousClock.now + delay,
        delay: delay,
        error: error,
        origins: origins
      )
      state.blobs[digest] = nil
    }
  }

  private func refusal(of digest: Digest, _ origin: String?) -> ContentError? {
    state.withLock { state in
      guard let refusal = state.refusals[digest], refusal.until > ContinuousClock.now,
        origin.map({ refusal.origins.contains($0) }) ?? true
      else { return nil }
      return refusal.error
    }
  }
}
