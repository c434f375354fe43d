import BlobCache
package import Content
import Disk
import LocalRegistry
import Locking
import Logging
package import OCI
import SystemPackage

/// A blob as readers see it: present bytes are served at once, absent ones are fetched, and it becomes complete.
///
/// The decisions are pure: `BlobState` for the life of the blob and its waiters, `FetchDemand` for what is fetched. This
/// object holds the lock, hands them events, and runs the actions after the lock is released.
///
/// Lock order: this object's state, then the partial blob's. Nothing is called out with the lock held.
package final class LazyBlob: Sendable {
  typealias State = BlobState<ReadReplyBox, PartialContent, BlobFile>
  typealias Phase = State.Phase
  typealias Waiter = State.Waiter

  /// What the lock guards.
  struct Guarded {
    var blob: State
    var demand: FetchDemand
    /// The requests under way, by their identifiers.
    var flights: [UInt64: FlightControl] = [:]
    /// The first one is asked first.
    var sources: [any Repository] = []
    var use = BlobUse()
    /// When it was last logged that a reader waits.
    var toldSlow: ContinuousClock.Instant?

    /// Whether a source sends all bytes in one stream, which serves every reader it passes.
    var isStreaming: Bool {
      if flights.values.contains(where: { $0.isWidened }) { return true }
      return !(sources.first?.servesRanges ?? true) && demand.table.hasStartedFlights
    }
  }

  package let descriptor: Descriptor
  let store: BlobStore
  let state: Mutex<Guarded>
  /// Tells blobs apart where requests wait for their turn.
  let number: UInt64
  /// Bytes that are served without being kept.
  let unkept: UnkeptBytes
  let progress = LastProgress()
  /// Of the source that is asked first: what is known of a host is kept under this name.
  private let firstLink = Mutex("")

  init(_ descriptor: Descriptor, phase: Phase, store: BlobStore) {
    self.descriptor = descriptor
    self.store = store
    let rule = ServingRule(
      verify: store.policy.verify,
      isSmall: descriptor.size <= store.policy.smallBlob
    )
    state = Mutex(
      Guarded(
        blob: State(phase, digest: descriptor.digest, size: descriptor.size, rule: rule),
        demand: FetchDemand(size: descriptor.size)
      )
    )
    number = store.scheduler.makeIdentifier()
    unkept = UnkeptBytes(size: descriptor.size, budget: store.unkept)
  }

  /// Adds a source; the first one added is asked first.
  ///
  /// - Parameter source: a repository that has the blob.
  func addSource(_ source: any Repository) {
    let partial: PartialBlob? = state.withLock { state in
      guard !state.sources.contains(where: { $0.origin == source.origin }) else { return nil }
      state.sources.append(source)
      if state.sources.count == 1 { firstLink.withLock { $0 = source.link } }
      return state.blob.partial?.blob
    }
    if let partial, !partial.noteOrigin(source.origin) { state.withLock { $0.blob.mix() } }
  }

  var link: String { firstLink.withLock { $0 } }

  // MARK: Events

  /// Hands the state an event, and runs its actions.
  func handle(_ event: State.Event) {
    for action in state.withLock({ $0.blob.handle(event) }) { run(action) }
  }

  private func run(_ action: State.Action) {
    switch action {
    case .answer(let waiters, let content): answer(waiters, from: content)
    case .fail(let waiters, let error): for waiter in waiters { waiter.reply.fail(error) }
    case .failChunk(let waiters, let chunk, let isDropped): giveUp(chunk, waiters, isDropped: isDropped)
    case .promote(let purpose): promoteAll(to: purpose)
    case .startWatch: startWatch()
    case .fetchAgain(let chunk): fetchAgain(chunk)
    case .recheck(let isListDropped): recheck(isListDropped: isListDropped)
    case .commit(let content): commit(content)
    case .discard(let content, let actual): discard(content, actual)
    case .hashFile(let file): hash(file)
    case .noteVerified(let file): noteVerified(file)
    case .rejectFile(let file, let actual): reject(file, actual)
    case .distribute(let content): distribute(content)
    case .announce: announce()
    case .markBad(let error): markBad(error)
    case .dropPages: dropPages()
    }
  }

  private func answer(_ waiters: [Waiter], from content: State.Content) {
    for waiter in waiters {
      switch content {
      case .file(let file):
        waiter.reply.file(
          file.descriptor.rawValue,
          offset: file.offset + waiter.range.lowerBound,
          count: waiter.range.count
        )
      case .partial(let content): waiter.reply.partial(content.blob, waiter.range)
      }
    }
  }

  /// Makes all requests under way more urgent: a waiter needs all of them.
  private func promoteAll(to purpose: FlightQueue.Purpose) {
    let flights = state.withLock { state in
      for control in state.flights.values { control.promote(to: purpose) }
      return Array(state.flights.keys)
    }
    for flight in flights { store.scheduler.promote(flight, to: purpose) }
  }

  // MARK: Reads

  /// Answers a read, at once or when its bytes have arrived.
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
    let now = ContinuousClock.now
    let (hit, ahead): (State.Hit, Range<Int64>?) = state.withLock { state in
      state.use.recording?.note(range)
      let hit = state.blob.hit(range, now: now, progress: progress.instant)
      guard case .partial(let content) = hit, !isMetadata else { return (hit, nil) }
      return (
        hit, state.demand.lack(ahead: range, state.blob, content, isIdle: state.flights.isEmpty)
      )
    }
    switch hit {
    case .file(let file):
      reply.file(file.descriptor.rawValue, offset: file.offset + range.lowerBound, count: range.count)
    case .partial(let content):
      content.blob.answer(reply, range)
      if let ahead { demand(range, ahead: ahead) }
    case .bad(let error): reply.fail(error)
    case .refusedChunk(let chunk): reply.fail(wrongChunk(chunk))
    case .justTimedOut: reply.fail(timeout(of: range))
    case .miss: fetch(range, caller: caller, isMetadata: isMetadata, reply: reply)
    }
  }

  private func fetch(
    _ range: Range<Int64>,
    caller: Int32?,
    isMetadata: Bool,
    reply: consuming ReadReply
  ) {
    let isByParts = mayServePartial
    enqueue(reply, range, caller: caller, isForWhole: !isByParts, isReader: true)
    checkChunks(in: range)
    if isMetadata, isByParts {
      start(FetchRequest(range, need: range, .demand))
    } else {
      demand(range)
    }
    handle(.checkWanted)
    if !isByParts { verify() }
  }

  /// Lets a reply wait, for a range or until all bytes are verified, under watch.
  func enqueue(
    _ reply: consuming ReadReply,
    _ range: Range<Int64>,
    caller: Int32?,
    isForWhole: Bool,
    isReader: Bool = false
  ) {
    let waiter = Waiter(
      ReadReplyBox(reply),
      range,
      needsWhole: isForWhole,
      caller: caller,
      isReader: isReader,
      since: .now
    )
    state.withLock { $0.demand.isFillPaused = false }
    handle(.wait(waiter))
  }
}

/// A partial blob, with the hashing of its bytes.
struct PartialContent: BlockPresence {
  let blob: PartialBlob
  let verifier: BlobVerifier

  var isComplete: Bool { blob.isComplete }
  func contains(_ range: Range<Int64>) -> Bool { blob.contains(range) }
  func holds(_ range: Range<Int64>) -> Bool { blob.holds(range) }
  func missing(in blocks: Range<Int>) -> [Range<Int>] { blob.missing(in: blocks) }
  func nextMissing(from block: Int, limit: Int) -> Range<Int>? { blob.nextMissing(from: block, limit: limit) }
}
