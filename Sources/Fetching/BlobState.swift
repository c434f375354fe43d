import BlobCache
import Content
import OCI

/// The blocks of a partial blob that are present.
protocol BlockPresence: Sendable {
  /// Whether every block is on the disk.
  var isComplete: Bool { get }
  /// Returns whether every byte of a range is on the disk.
  func contains(_ range: Range<Int64>) -> Bool
  /// Returns whether every byte of a range can be read, from the disk or from memory.
  func holds(_ range: Range<Int64>) -> Bool
  /// Returns the runs of absent blocks, in order.
  func missing(in blocks: Range<Int>) -> [Range<Int>]
  /// Returns the next run of absent blocks at or after a block, up to a length.
  func nextMissing(from block: Int, limit: Int) -> Range<Int>?
}

/// The state machine of one blob: which bytes may be served, which readers wait, and how the blob becomes
/// complete or bad.
///
/// Pure: events in, actions out. `Partial` knows which blocks are present; the caller passes the time.
///
///     phase                 event                      next phase            actions
///     partial, settling     wait                       same                  startWatch; promote if all
///                                                                            bytes are needed
///     partial, settling     arrived                    same                  answer the waiters whose range
///                                                                            may be served
///     partial               chunkMatched               same                  the same
///     partial               chunkDiffers, 1st time     same                  fetchAgain
///     partial               chunkDiffers, 2nd time     same                  failChunk: its waiters, and
///                                                                            those for all bytes
///     partial               chunkUnreadable            same                  fail its waiters
///     partial               flightFailed               same                  fail the waiters of absent
///                                                                            blocks, and those for all bytes
///     partial               hashed, right digest       settling              commit
///     partial               hashed, wrong digest       settling              discard
///     partial               listChanged                same                  recheck
///     settling              committed                  complete, verified    distribute, answer, announce
///     settling              commitFailed, with a file  complete, verified    answer
///     settling              commitFailed, without      partial               fail all
///     settling              condemned                  bad                   markBad, fail all, dropPages
///     complete, unverified  checkWanted                complete, checking    hashFile
///     complete, checking    hashed, right digest       complete, verified    noteVerified, answer
///     complete, checking    hashed, wrong digest       complete, checking    rejectFile
///     complete, checking    hashFailed                 complete, unverified  fail the waiters for all bytes
///     complete, checking    condemned                  bad                   markBad, fail all, dropPages
///     complete              wait, arrived              same                  answer: all if verified, else
///                                                                            by the policy
///     bad                   wait, arrived              bad                   fail all
///     any                   waitFailed                 same                  fail the waiters for all bytes,
///                                                                            or all
///
/// Every other pair changes nothing and has no action.
struct BlobState<Reply: Sendable, Partial: BlockPresence, File: Sendable>: Sendable {
  typealias Waiter = Waiters<Reply>.Waiter

  /// The trust in a complete file.
  enum Trust: Sendable, Equatable {
    case unverified
    /// The file is being hashed.
    case checking
    case verified
  }

  enum Phase: Sendable {
    case partial(Partial)
    /// The digest of the blob is known: the blob is being committed or discarded.
    case settling(Partial)
    case complete(File, Trust)
    /// The bytes of the blob do not match its digest.
    case bad(ContentError)
  }

  enum Event: Sendable {
    /// A reply waits for a range, or until the complete blob is verified.
    case wait(Waiter)
    /// Blocks became present.
    case arrived
    case chunkMatched(Int)
    /// A chunk does not match its list.
    ///
    /// - isDropped: Whether its blocks count as absent again.
    /// - refusedUntil: The time until which the chunk is not requested if it differs again.
    case chunkDiffers(Int, isDropped: Bool, refusedUntil: ContinuousClock.Instant)
    /// A chunk could not be read from the disk.
    case chunkUnreadable(Int, ContentError)
    /// A flight ended without these blocks.
    ///
    /// - sparesReaders: Whether readers are served in another way.
    case flightFailed([Range<Int>], ContentError, sparesReaders: Bool)
    /// The chunk list was found or withdrawn.
    case listChanged(ChunkList?, named: Digest?, isOwn: Bool)
    /// The digest of all bytes, of the partial blob or of the complete file, was computed.
    case hashed(Digest)
    /// The complete file could not be hashed.
    case hashFailed(ContentError)
    case committed(File)
    /// - file: The partial blob's own file, to be served in place; nil if it cannot be served.
    case commitFailed(ContentError, file: File?)
    /// The wrong bytes were discarded, and their origins are refused.
    case condemned(ContentError)
    /// A reader needs the file of another program verified.
    case checkWanted
    /// Waiting is useless: for all bytes, or for any bytes.
    case waitFailed(ContentError, onlyForAllBytes: Bool)
  }

  enum Content: Sendable {
    case file(File)
    case partial(Partial)
  }

  enum Action: Sendable {
    case answer([Waiter], from: Content)
    case fail([Waiter], ContentError)
    /// A chunk differed twice, or its blocks cannot be dropped.
    case failChunk([Waiter], Int, isDropped: Bool)
    /// The flights of the blob become at least as urgent as this purpose.
    case promote(FlightQueue.Purpose)
    case startWatch
    /// A chunk is fetched again over another connection.
    case fetchAgain(Int)
    /// Chunks are compared with the list; waiters for chunks may now wait for all bytes.
    case recheck(isListDropped: Bool)
    case commit(Partial)
    case discard(Partial, actual: Digest)
    case hashFile(File)
    case noteVerified(File)
    case rejectFile(File, actual: Digest)
    /// Layouts that lack the blob receive it, and its chunk list is stored.
    case distribute(Partial)
    /// The blob became complete.
    case announce
    case markBad(ContentError)
    case dropPages
  }

  let digest: Digest
  /// The size of the blob in bytes.
  let size: Int64
  let rule: ServingRule

  private(set) var phase: Phase
  var waiters = Waiters<Reply>()
  /// The chunk list: with a trusted list, each byte is verified before it is served.
  var trust = ChunkTrust()
  /// Whether all bytes are wanted regardless of the policy: by a pull, or by a reader of verified bytes only.
  var wantsAllBytes = false
  /// Whether bytes of several sources may be present: none is served before all are verified.
  var isMixed = false
  var isWatched = false
  /// Whether bytes are being hashed: waiters for all bytes are not late meanwhile.
  var isHashing = false
  /// The time and the ranges of the last waits that timed out.
  var lastTimeout: (at: ContinuousClock.Instant, ranges: [Range<Int64>])?

  init(_ phase: Phase, digest: Digest, size: Int64, rule: ServingRule) {
    self.phase = phase
    self.digest = digest
    self.size = size
    self.rule = rule
  }

  // MARK: Events

  mutating func handle(_ event: Event) -> [Action] {
    switch event {
    case .wait(let waiter): return add(waiter)
    case .arrived: return answerReady()
    case .chunkMatched(let chunk):
      trust.chunks?.pass(chunk)
      return answerReady()
    case .chunkDiffers(let chunk, let isDropped, let until): return refuse(chunk, isDropped, until)
    case .chunkUnreadable(let chunk, let error):
      trust.chunks?.abandon(chunk)
      return fail(takeWaiters(ofChunk: chunk), error)
    case .flightFailed(let runs, let error, let sparesReaders):
      return fail(takeWaiters(lacking: runs, sparesReaders: sparesReaders), error)
    case .listChanged(let list, let named, let isOwn): return adopt(list, named, isOwn)
    case .hashed(let actual): return judge(actual)
    case .hashFailed(let error):
      if case .complete(let file, .checking) = phase { phase = .complete(file, .unverified) }
      return fail(waiters.take { $0.needsWhole }, error)
    case .committed, .commitFailed, .condemned: return settle(event)
    case .checkWanted:
      guard case .complete(let file, .unverified) = phase else { return [] }
      phase = .complete(file, .checking)
      return [.hashFile(file)]
    case .waitFailed(let error, let onlyForAllBytes):
      return fail(waiters.take { $0.needsWhole || !onlyForAllBytes }, error)
    }
  }

  private mutating func add(_ waiter: Waiter) -> [Action] {
    waiters.add(waiter)
    var actions: [Action] = []
    if waiter.needsWhole {
      wantsAllBytes = true
      actions.append(.promote(waiter.isReader ? .demand : .window))
    }
    if !isWatched {
      isWatched = true
      actions.append(.startWatch)
    }
    // The bytes may have arrived since the caller looked.
    return actions + answerReady()
  }

  private mutating func answerReady() -> [Action] {
    guard !waiters.isEmpty else { return [] }
    switch phase {
    case .complete(let file, let level):
      // Waiters for all bytes also wait for the digest.
      let mayServe = rule.verify != .strict
      let ready = waiters.take { level == .verified || (!$0.needsWhole && mayServe) }
      return ready.isEmpty ? [] : [.answer(ready, from: .file(file))]
    case .partial(let blob), .settling(let blob):
      let (chunks, servesUnverified) = (chunks, servesUnverified)
      let ready = waiters.take { waiter in
        !waiter.needsWhole
          && Self.isReady(waiter.range, blob, chunks, servesUnverified, isReader: waiter.isReader)
      }
      return ready.isEmpty ? [] : [.answer(ready, from: .partial(blob))]
    case .bad(let error): return fail(waiters.take { _ in true }, error)
    }
  }

  private mutating func refuse(
    _ chunk: Int,
    _ isDropped: Bool,
    _ until: ContinuousClock.Instant
  ) -> [Action] {
    guard let verdict = trust.chunks?.fail(chunk, refusedUntil: until) else { return [] }
    if verdict == .retry, isDropped { return [.fetchAgain(chunk)] }
    let failed = takeWaiters(ofChunk: chunk) + waiters.take { $0.needsWhole }
    return [.failChunk(failed, chunk, isDropped: isDropped)]
  }

  private mutating func adopt(_ list: ChunkList?, _ named: Digest?, _ isOwn: Bool) -> [Action] {
    guard partial != nil else { return [] }
    switch trust.adopt(list, named: named, isOwn: isOwn) {
    case .none: return []
    case .kept: return [.recheck(isListDropped: false)]
    case .dropped(let hadList):
      // Waiters for verified chunks now wait for all bytes, if the policy requires verified bytes.
      if !servesUnverified { wantsAllBytes = true }
      return [.recheck(isListDropped: hadList)]
    }
  }

  private mutating func judge(_ actual: Digest) -> [Action] {
    let isRight = actual == digest
    switch phase {
    case .partial(let blob):
      phase = .settling(blob)
      return [isRight ? .commit(blob) : .discard(blob, actual: actual)]
    case .complete(let file, .checking):
      guard isRight else { return [.rejectFile(file, actual: actual)] }
      phase = .complete(file, .verified)
      return [.noteVerified(file)] + answerReady()
    // Two hash runs may finish; the result of the first one counts.
    case .settling, .complete, .bad: return []
    }
  }

  private mutating func settle(_ event: Event) -> [Action] {
    switch (event, phase) {
    case (.committed(let file), .settling(let blob)):
      phase = .complete(file, .verified)
      // The blob is distributed before waiters for all bytes are answered: a command exits then.
      return [.distribute(blob)] + answerReady() + [.announce]
    case (.commitFailed(_, let file?), .settling):
      phase = .complete(file, .verified)
      return answerReady()
    case (.commitFailed(let error, nil), .settling(let blob)):
      phase = .partial(blob)
      return fail(waiters.take { _ in true }, error)
    case (.condemned(let error), .settling), (.condemned(let error), .complete(_, .checking)):
      phase = .bad(error)
      return [.markBad(error)] + fail(waiters.take { _ in true }, error) + [.dropPages]
    default: return []
    }
  }

  private func fail(_ failed: [Waiter], _ error: ContentError) -> [Action] {
    failed.isEmpty ? [] : [.fail(failed, error)]
  }
}

/// The part of the policy that determines which bytes of one blob may be served.
struct ServingRule: Sendable {
  let verify: FetchPolicy.Verify
  /// Whether the blob is small; a small blob is verified before a byte is served.
  let isSmall: Bool
}
