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

/// Receives the events of blobs that a server of blobs must act on.
package protocol BlobStoreDelegate: AnyObject, Sendable {
  /// The bytes of a blob are wrong: reads of it fail from now on. Called before waiting reads are answered.
  ///
  /// - Parameter digest: The digest of the blob.
  func blobTurnedBad(_ digest: Digest)

  /// A blob is complete and verified: its file can be read in place of the partial blob.
  ///
  /// - Parameter digest: The digest of the blob.
  func blobBecameComplete(_ digest: Digest)

  /// Pages with wrong bytes may be in the kernel's cache. Called after waiting reads were answered.
  ///
  /// - Parameter digest: The digest of the blob.
  func pagesAreWrong(_ digest: Digest)
}

/// The blobs that are being read or fetched, with one object per digest.
package final class BlobStore: Sendable {
  package let local: LocalRegistry
  package let policy: FetchPolicy
  package let isOffline: Bool
  let metrics: Metrics
  /// Hashes blobs, which occupies a core for seconds: separate from the disk's threads, so that an open does
  /// not wait for it.
  let hashing = BlockingExecutor(label: "weightfs.hash", threads: 2)
  /// Hashes small blobs, which readers wait for as a whole, so that none waits behind a large one.
  let hashingSmall = BlockingExecutor(label: "weightfs.hash.small", threads: 1)
  /// Hashes files that weightfs did not write: no fetch waits for them.
  let foreign = BlockingExecutor(label: "weightfs.check", threads: 1)
  /// Lets the kernel build fs-verity trees, which takes as long as reading the blob.
  let sealing = BlockingExecutor(label: "weightfs.verity", threads: 1)
  /// Compares chunks with lists: a reader waits for each comparison.
  let chunking = BlockingExecutor(label: "weightfs.chunk", threads: 2)
  /// Reads the headers of model files.
  let parsing = BlockingExecutor(label: "weightfs.header", threads: 1)
  let scheduler = FetchScheduler()
  /// The memory for bytes that do not fit on the disk.
  let unkept = UnkeptBytes.Budget(limit: 64 << 20)
  /// The buffers for bytes before they are written; bytes beyond the limit are written at once.
  let buffers = AppendBufferPool(capacity: Int(BlobIngest.pieceSize), limit: 24, kept: 4)
  /// Limits the log messages of failures that repeat with each request of a reader.
  let limiter = MessageLimiter()
  let lists: ChunkListStore
  package let log: Logger
  /// The interval at which waits are checked.
  let watchInterval: Duration = .milliseconds(100)
  private let state = Mutex(State())

  private struct Refusal: Sendable {
    var until: ContinuousClock.Instant
    var delay: Duration
    var error: ContentError
    /// The origins that the wrong bytes came from.
    var origins: Set<String>
  }

  private struct Weak: Sendable {
    weak var blob: LazyBlob?
  }

  private struct State {
    var blobs: [Digest: Weak] = [:]
    /// Blobs with work in progress, which stay alive without a reader.
    var kept: [Digest: LazyBlob] = [:]
    var refusals: [Digest: Refusal] = [:]
    /// The files of layouts and stores whose bytes were found wrong.
    var badFiles: Set<FileIdentity> = []
    var recordings: [Digest: Recording] = [:]
    /// The chunk lists that could not be fetched, and the time until which they are not requested.
    var missingLists: [Digest: ContinuousClock.Instant] = [:]
    weak var delegate: (any BlobStoreDelegate)?
  }

  /// Creates a store.
  ///
  /// - Parameters:
  ///   - local: The local registry that keeps the blobs.
  ///   - policy: The rules for fetching and verification.
  ///   - isOffline: Whether network access is disabled.
  ///   - metrics: Counts events of blobs.
  ///   - log: Receives messages for the operator.
  package init(local: LocalRegistry, policy: FetchPolicy, isOffline: Bool, metrics: Metrics, log: Logger) {
    self.local = local
    lists = ChunkListStore(root: local.root)
    self.policy = policy
    self.isOffline = isOffline
    self.metrics = metrics
    self.log = log
  }

  /// The receiver of events of blobs.
  package var delegate: (any BlobStoreDelegate)? {
    get { state.withLock { $0.delegate } }
    set { state.withLock { $0.delegate = newValue } }
  }

  /// Opens a blob for reading.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the blob.
  ///   - layout: A layout that may have the blob, in addition to the pool.
  ///   - source: The repository to fetch from; nil for none.
  ///   - reference: The reference of the opened artifact; nil if it has no name in the local registry.
  /// - Returns: The object of the blob, shared by all its readers.
  /// - Throws: `ContentError` if the blob is known to be wrong or the disk fails.
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

  /// Notes a use for the order of eviction, and whether the disk can hold the missing bytes.
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

  /// Looks for a chunk list to verify with: from an earlier verification, or named by the manifest.
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

  // A registry that lost a list, or is unreachable, is not asked again at each open.
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
      // A list that cannot be stored is fetched again.
      _ = try? await local.executor.run { () throws(ContentError) in
        try self.lists.write(list, of: descriptor.digest, list: named.digest)
      }
      return list
    } catch {
      log.warning(
        "the chunk list of a blob cannot be fetched; the blob is verified only when complete",
        metadata: ["blob": "\(descriptor.digest)", "list": "\(named.digest)", "reason": "\(error)"]
      )
      return nil
    }
  }

  // The maximum size of a chunk list: 32 bytes for each MiB of the largest blob.
  private static let longestList: Int64 = 128 << 20

  private static func chunkSize(_ blob: Descriptor) -> Int64? {
    blob.annotations[ChunkList.sizeAnnotation].flatMap { Int64($0) }.flatMap {
      ChunkList.isUsable(chunkSize: $0) ? $0 : nil
    }
  }

  /// Returns the chunk list that a layer's annotations name; the manifest's digest covers them.
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

  // The maximum size of a blob: 4 TiB, about ten times the largest model; the map of a partial blob has a
  // byte per 64 KiB.
  static let largestBlob: Int64 = 4 << 40

  /// Returns the object of a digest, or one that must not be reused: it is bad, or its file was removed or
  /// replaced.
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

  /// Returns the object of an open blob, or nil if the blob is not open.
  func openBlob(_ digest: Digest) -> LazyBlob? { state.withLock { $0.blobs[digest]?.blob } }

  func noteBadFile(_ identity: FileIdentity) { _ = state.withLock { $0.badFiles.insert(identity) } }

  /// Waits until the chunk lists of verified blobs are on the disk.
  ///
  /// For commands, which exit when their work is done.
  package func settle() async { await foreign.ask {} }

  // MARK: Life of the objects

  /// The blobs with work in progress.
  var busyBlobs: [LazyBlob] { state.withLock { Array($0.kept.values) } }

  func keep(_ blob: LazyBlob) {
    state.withLock { $0.kept[blob.descriptor.digest] = blob }
  }

  func releaseIfIdle(_ blob: LazyBlob) {
    guard blob.isIdle else { return }
    // The last reference may be released here: that must not happen while the lock is held.
    let released = state.withLock { state in
      state.kept[blob.descriptor.digest] === blob
        ? state.kept.removeValue(forKey: blob.descriptor.digest) : nil
    }
    withExtendedLifetime(released) {}
  }

  // MARK: Recordings

  /// Returns the recording of a blob; the first call starts it.
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
