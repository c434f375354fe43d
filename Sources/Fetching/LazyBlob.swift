import BlobCache
package import Disk
package import Content
import LocalRegistry
import Logging
package import OCI
import Locking
import SystemPackage

/// A blob as readers see it: bytes that are here are served at once, others are fetched, and it becomes complete.
///
/// Lock order: this object's state, then the partial blob's. Nothing is called out with the lock held.
package final class LazyBlob: Sendable {
  package let descriptor: Descriptor
  let store: BlobStore
  let state: Mutex<State>
  /// Tells blobs apart where requests wait for their turn.
  let number: UInt64
  /// What is served without being kept.
  let unkept: UnkeptBytes
  let progress = LastProgress()
  /// Of the source that is asked first: what is known of a host is kept under this name.
  private let firstLink = Mutex("")
  /// Bytes of several sources may be here: none is served before the whole is verified.
  private let isMixed = Atomic(false)

  enum Phase: Sendable {
    /// Whole, in a file.
    case complete(BlobFile, isVerified: Bool)
    /// On its way.
    case partial(PartialBlob, BlobVerifier)
    /// Its bytes are not what the digest says.
    case bad(ContentError)
  }

  typealias Waiter = Waiters<ReadReplyBox>.Waiter

  struct State {
    var phase: Phase
    var table = FetchTable()
    var waiters = Waiters<ReadReplyBox>()
    var window: ReadWindow
    /// How far ahead of a reader is fetched, bytes, by what was last known of the link.
    var windowSize = ReadWindow.first
    var formats: FileFormats
    /// A trusted list; with it each byte is verified before it is served.
    var chunks: TrustedChunks?
    /// The list is weightfs' own, of an earlier verification.
    var usesOwnList = false
    /// The lists that manifests name for it; nil for one that names none.
    var namedLists: Set<Digest?> = []
    var controls: [UInt64: FlightControl] = [:]
    /// What an earlier start read, in its order.
    var profile: [Range<Int>] = []
    /// Up to here it was asked for.
    var profileIndex = 0
    var recording: Recording?
    var hasLookedForProfile = false
    var sources: [any Repository] = []
    /// References by which it was opened, which are noted beside it on the disk.
    var holders: Set<Reference> = []
    /// When its use was last noted on the disk.
    var lastUse: ContinuousClock.Instant?
    /// Somebody wants it whole, whatever the policy: a pull, or a reader who may only see verified bytes.
    var wantsWhole = false
    /// Fetching ahead failed: readers alone start something now.
    var isFillPaused = false
    /// There can be room for all of it, if others go.
    var mayFill = true
    /// More than the header of a model file was read: the rest may be fetched in the background.
    var isContentRead = false
    var isWatched = false
    /// When a slow request gets a second one beside it.
    var hedge = Hedge()
    /// When it was last told that a reader waits.
    var toldSlow: ContinuousClock.Instant?
    /// When somebody last waited in vain, and for what.
    var lastTimeout: (at: ContinuousClock.Instant, ranges: [Range<Int64>])?
    /// It is being committed, or thrown away.
    var isFinishing = false
    /// Bytes are being hashed or committed: who waits for the whole is not late.
    var isVerifying = false
  }

  init(_ descriptor: Descriptor, phase: Phase, store: BlobStore) {
    self.descriptor = descriptor
    self.store = store
    state = Mutex(
      State(
        phase: phase,
        window: ReadWindow(blobSize: descriptor.size),
        formats: FileFormats(blobSize: descriptor.size)
      )
    )
    number = store.scheduler.makeIdentifier()
    unkept = UnkeptBytes(size: descriptor.size, budget: store.unkept)
  }

  /// Adds a place to fetch from; the first one added is asked first.
  ///
  /// - Parameter source: a repository that has the blob.
  func addSource(_ source: any Repository) {
    let partial: PartialBlob? = state.withLock { state in
      guard !state.sources.contains(where: { $0.origin == source.origin }) else { return nil }
      state.sources.append(source)
      if state.sources.count == 1 { firstLink.withLock { $0 = source.link } }
      if case .partial(let partial, _) = state.phase { return partial }
      return nil
    }
    if let partial, !partial.noteOrigin(source.origin) { isMixed.store(true, ordering: .relaxed) }
  }

  // Beyond these each open is noted again, which costs a look at a small file.
  private static let holderLimit = 64

  /// Whether a reference is new to this object.
  func isFirstOpen(by reference: Reference) -> Bool {
    state.withLock { state in
      if state.holders.count >= Self.holderLimit { state.holders = [] }
      return state.holders.insert(reference).inserted
    }
  }

  // How exact the order of eviction is.
  private static let useInterval: Duration = .seconds(30)

  /// Whether a use is to be noted; it is then.
  func isUseDue(at now: ContinuousClock.Instant) -> Bool {
    state.withLock { state in
      if let last = state.lastUse, now - last < Self.useInterval { return false }
      state.lastUse = now
      return true
    }
  }

  var link: String { firstLink.withLock { $0 } }

  /// What is here of it.
  package var status: BlobStatus {
    let whole = status(of: 0..<descriptor.size)
    // All bytes may be here and not be verified yet: that is not complete.
    guard whole.presence == .complete, whole.verified != .blob, completeFile == nil else { return whole }
    return BlobStatus(presence: .partial, cachedBytes: whole.cachedBytes, verified: whole.verified)
  }

  /// What is here of a range.
  ///
  /// - Parameter range: bytes within the blob.
  /// - Returns: bytes and state of the range.
  package func status(of range: Range<Int64>) -> BlobStatus {
    state.withLock { state in
      switch state.phase {
      case .complete(_, let isVerified):
        BlobStatus(presence: .complete, cachedBytes: Int64(range.count), verified: isVerified ? .blob : .no)
      case .partial(let blob, _):
        .partial(
          range.count == descriptor.size ? blob.presentBytes : blob.blocks.presentBytes(in: range),
          of: Int64(range.count),
          verified: state.chunks == nil ? .no : .chunk
        )
      case .bad: BlobStatus(presence: .remote, cachedBytes: 0, verified: .no)
      }
    }
  }

  /// The file that has it whole, if one does and may be served.
  package var completeFile: BlobFile? {
    state.withLock { state in
      guard case .complete(let file, let isVerified) = state.phase else { return nil }
      return isVerified || store.policy.verify != .strict ? file : nil
    }
  }

  /// The file that has it whole and verified, if one does.
  package var verifiedFile: BlobFile? {
    state.withLock { state in
      if case .complete(let file, true) = state.phase { file } else { nil }
    }
  }

  /// Why it is refused, if it is.
  package var badness: ContentError? {
    state.withLock { state in
      if case .bad(let error) = state.phase { error } else { nil }
    }
  }

  /// Whether bytes may be served before all of them are verified: unverified by policy, or verified by themselves.
  func servesPartial(_ state: borrowing State) -> Bool {
    state.chunks != nil || servesUnverified
  }

  /// Whether bytes may be served that nothing vouches for yet.
  var servesUnverified: Bool {
    store.policy.verify == .deferred && descriptor.size > store.policy.smallBlob
      && !isMixed.load(ordering: .relaxed)
  }

  var mayServePartial: Bool { state.withLock { servesPartial($0) } }

  private enum Answer {
    case file(BlobFile)
    /// What is to be asked for ahead of the reader; nil where all of that is here or on its way.
    case partial(PartialBlob, ahead: Range<Int64>?)
    case failure(ContentError)
  }

  /// Answers a read, now or when its bytes have come.
  ///
  /// Never waits.
  ///
  /// - Parameters:
  ///   - range: bytes within the blob, not empty.
  ///   - caller: the thread that reads, whose end ends the wait; nil for none.
  ///   - isMetadata: the headers of a tar and the like: nothing is fetched ahead of it, and no fill is started.
  ///   - reply: answered exactly once.
  package func read(
    _ range: Range<Int64>,
    caller: Int32?,
    isMetadata: Bool = false,
    reply: consuming ReadReply
  ) {
    guard range.upperBound <= descriptor.size else {
      reply.fail(ContentError(.corrupt, "\(descriptor.digest)", "a read behind the end of the blob"))
      return
    }
    let fast = state.withLock { state -> Answer? in
      state.recording?.note(range)
      switch state.phase {
      case .complete(let file, let isVerified):
        return isVerified || store.policy.verify != .strict ? .file(file) : nil
      case .partial(let blob, _):
        if servesPartial(state), isReady(range, blob, state.chunks) {
          return .partial(blob, ahead: isMetadata ? nil : lack(ahead: range, blob, &state))
        }
        if let refused = state.chunks?.firstRefused(in: range, now: .now) {
          return .failure(wrongChunk(refused, state))
        }
        return hasJustTimedOut(range, state) ? .failure(timeout(of: range, state)) : nil
      case .bad(let error): return .failure(error)
      }
    }
    switch fast {
    case .file(let file)?:
      reply.file(file.descriptor.rawValue, offset: file.offset + range.lowerBound, count: range.count)
      return
    case .partial(let blob, let ahead)?:
      blob.answer(reply, range)
      if let ahead { demand(range, ahead: ahead) }
      return
    case .failure(let error)?:
      reply.fail(error)
      return
    case nil: break
    }
    let isByParts = mayServePartial
    enqueue(reply, range, caller: caller, isForWhole: !isByParts, isReader: true)
    // What arrived between the look and the queue has no other moment to be noticed.
    answerReady()
    checkChunks(in: range)
    if isMetadata, isByParts { start(range, need: range, .demand) } else { demand(range) }
    checkForeign()
    if !isByParts { verify() }
  }

  /// Lets somebody wait, for a range or until the whole is verified, under watch.
  func enqueue(
    _ reply: consuming ReadReply,
    _ range: Range<Int64>,
    caller: Int32?,
    isForWhole: Bool,
    isReader: Bool = false
  ) {
    let box = ReadReplyBox(reply)
    let now = ContinuousClock.now
    state.withLock { state in
      state.waiters.add(box, range, needsWhole: isForWhole, caller: caller, isReader: isReader, now: now)
      if isForWhole { state.wantsWhole = true }
      state.isFillPaused = false
    }
    if isForWhole { promoteAll(to: isReader ? .demand : .window) }
    startWatch()
  }

  /// Makes everything under way more urgent: somebody waits for all of it.
  private func promoteAll(to purpose: FlightQueue.Purpose) {
    let flights = state.withLock { state in
      for control in state.controls.values { control.promote(to: purpose) }
      return Array(state.controls.keys)
    }
    for flight in flights { store.scheduler.promote(flight, to: purpose) }
  }

  /// Answers everyone whose bytes are there.
  func answerReady() {
    let (ready, answer): ([Waiter], Answer?) = state.withLock { state in
      guard !state.waiters.isEmpty else { return ([], nil) }
      switch state.phase {
      case .complete(let file, let isVerified):
        // Who waits for the whole waits for its digest too.
        let mayServe = store.policy.verify != .strict
        return (state.waiters.take { isVerified || (!$0.needsWhole && mayServe) }, .file(file))
      case .partial(let blob, _):
        let chunks = state.chunks
        let ready = state.waiters.take { waiter in
          !waiter.needsWhole && isReady(waiter.range, blob, chunks, isReader: waiter.isReader)
        }
        return (ready, .partial(blob, ahead: nil))
      case .bad(let error): return (state.waiters.take { _ in true }, .failure(error))
      }
    }
    guard let answer else { return }
    for waiter in ready {
      switch answer {
      case .file(let file):
        waiter.reply.file(
          file.descriptor.rawValue,
          offset: file.offset + waiter.range.lowerBound,
          count: waiter.range.count
        )
      case .partial(let blob, _): waiter.reply.partial(blob, waiter.range)
      case .failure(let error): waiter.reply.fail(error)
      }
    }
  }

  /// Fails everyone who waits for some blocks, or for the whole.
  ///
  /// - Parameters:
  ///   - runs: what will not come.
  ///   - error: why.
  ///   - evenIfPresent: also blocks that are there, but may not be served.
  ///   - sparesReaders: only who fetches ahead.
  func fail(
    _ runs: [Range<Int>],
    with error: ContentError,
    evenIfPresent: Bool = false,
    sparesReaders: Bool = false
  ) {
    let failed: [Waiter] = state.withLock { state in
      guard case .partial(let blob, _) = state.phase else { return [] }
      let lost = evenIfPresent ? runs : runs.flatMap { blob.missing(in: $0) }
      let chunks = state.chunks
      return state.waiters.take { waiter in
        if waiter.needsWhole { return !evenIfPresent }
        if sparesReaders, waiter.isReader { return false }
        let range = chunks?.aligned(waiter.range) ?? waiter.range
        let blocks = BlockMap.blocks(touching: range, size: descriptor.size)
        return lost.contains { $0.overlaps(blocks) }
      }
    }
    for waiter in failed { waiter.reply.fail(error) }
  }

  /// Fails everyone who waits for the whole blob, verified.
  func failWhole(with error: ContentError) {
    for waiter in state.withLock({ $0.waiters.take { $0.needsWhole } }) { waiter.reply.fail(error) }
  }

  /// Fails everyone who waits.
  func failAll(with error: ContentError) {
    for waiter in state.withLock({ $0.waiters.take { _ in true } }) { waiter.reply.fail(error) }
  }
}
