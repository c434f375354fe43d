import BlobCache
package import Content
import Disk
import LocalRegistry
import Locking
import Logging
package import OCI
import SystemPackage
import Telemetry

/// A blob as seen by readers: present bytes are served at once, absent ones are fetched, and the blob becomes
/// complete.
///
/// The decisions are pure: `BlobState` for the life of the blob and its waiters, `FetchDemand` for the bytes
/// to fetch. This object holds the lock, passes events to them, and runs the actions after the lock is
/// released.
///
/// Lock order: this object's state, then the partial blob's. No callback is called with the lock held.
package final class LazyBlob: Sendable {
  typealias State = BlobState<ReadReplyBox, PartialContent, BlobFile>
  typealias Phase = State.Phase
  typealias Waiter = State.Waiter

  /// The state that the lock protects.
  struct Guarded {
    var blob: State
    var demand: FetchDemand
    /// The flights by their identifiers.
    var flights: [UInt64: FlightControl] = [:]
    /// The sources, in the order in which they are asked.
    var sources: [any Repository] = []
    var use = BlobUse()
    /// The time at which a slow reader was last logged.
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
  /// Identifies the blob in the queue of requests.
  let number: UInt64
  /// The bytes that are served without being kept.
  let unkept: UnkeptBytes
  let progress = LastProgress()
  /// The link of the source that is asked first; the facts about a host are stored under this name.
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

  /// Adds a source; the first source is asked first.
  ///
  /// - Parameter source: A repository that has the blob.
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

  /// Passes an event to the state, and runs its actions.
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
    let now = ContinuousClock.now
    for waiter in waiters where waiter.isReader { store.metrics.readWait.observe(now - waiter.since) }
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

  /// Makes all flights more urgent: a waiter needs all of them.
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
  /// Does not block.
  ///
  /// - Parameters:
  ///   - range: A byte range within the blob that is not empty.
  ///   - caller: The reading thread, whose death ends the wait; nil for none.
  ///   - isMetadata: Whether the bytes are metadata, such as tar headers: no window is fetched and no fill is
  ///     started.
  ///   - reply: Answered exactly once.
  package func read(
    _ range: Range<Int64>,
    caller: Int32?,
    isMetadata: Bool = false,
    reply: consuming ReadReply
  ) {
    guard range.upperBound <= descriptor.size else {
      reply.fail(ContentError(.corrupt, "\(descriptor.digest)", "the read exceeds the end of the blob"))
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
      store.metrics.noteHit(range.count)
      reply.file(file.descriptor.rawValue, offset: file.offset + range.lowerBound, count: range.count)
    case .partial(let content):
      store.metrics.noteHit(range.count)
      content.blob.answer(reply, range)
      if let ahead { demand(range, ahead: ahead) }
    case .bad(let error): reply.fail(error)
    case .refusedChunk(let chunk): reply.fail(wrongChunk(chunk))
    case .justTimedOut: reply.fail(timeout(of: range))
    case .miss:
      store.metrics.networkReads.add()
      store.metrics.networkReadBytes.add(UInt64(range.count))
      fetch(range, caller: caller, isMetadata: isMetadata, reply: reply)
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

  /// Adds a waiter, for a range or until all bytes are verified, and starts the watch.
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

/// A partial blob with its verifier.
struct PartialContent: BlockPresence {
  let blob: PartialBlob
  let verifier: BlobVerifier

  var isComplete: Bool { blob.isComplete }
  func contains(_ range: Range<Int64>) -> Bool { blob.contains(range) }
  func holds(_ range: Range<Int64>) -> Bool { blob.holds(range) }
  func missing(in blocks: Range<Int>) -> [Range<Int>] { blob.missing(in: blocks) }
  func nextMissing(from block: Int, limit: Int) -> Range<Int>? { blob.nextMissing(from: block, limit: limit) }
}
