import BlobCache
import Content
import OCI

/// Determines which bytes may be served, and to which waiters.
extension BlobState {
  /// The answer to a read that does not wait.
  enum Hit: Sendable {
    case file(File)
    case partial(Partial)
    case bad(ContentError)
    /// The chunk differed from its list twice a moment ago.
    case refusedChunk(Int)
    /// A reader waited for the same bytes until its deadline a moment ago.
    case justTimedOut
    case miss
  }

  // The kernel repeats failed readahead page by page: one wait is enough for both.
  private static var timeoutMemory: Duration { .seconds(1) }

  /// Returns the answer to a read.
  ///
  /// - Parameters:
  ///   - range: A byte range within the blob that is not empty.
  ///   - now: The current time.
  ///   - progress: The time of the last byte that arrived.
  func hit(_ range: Range<Int64>, now: ContinuousClock.Instant, progress: ContinuousClock.Instant) -> Hit {
    switch phase {
    case .complete: return servableFile.map { .file($0) } ?? .miss
    case .partial(let blob), .settling(let blob):
      if isReady(range, blob) { return .partial(blob) }
      if let refused = chunks?.firstRefused(in: range, now: now) { return .refusedChunk(refused) }
      guard let last = lastTimeout, progress < last.at, now - last.at < Self.timeoutMemory,
        last.ranges.contains(where: { $0.overlaps(range) })
      else { return .miss }
      return .justTimedOut
    case .bad(let error): return .bad(error)
    }
  }

  /// The chunk list in use, with the compared chunks; nil for none.
  var chunks: TrustedChunks? { trust.chunks }

  /// The partial blob; nil in the other phases.
  var partial: Partial? {
    switch phase {
    case .partial(let blob), .settling(let blob): blob
    case .complete, .bad: nil
    }
  }

  /// The complete file, if it may be served.
  var servableFile: File? {
    guard case .complete(let file, let level) = phase else { return nil }
    return level == .verified || rule.verify != .strict ? file : nil
  }

  /// The complete file, if it is verified.
  var verifiedFile: File? {
    if case .complete(let file, .verified) = phase { file } else { nil }
  }

  var badness: ContentError? {
    if case .bad(let error) = phase { error } else { nil }
  }

  /// Whether bytes may be served before they are verified.
  var servesUnverified: Bool { rule.verify == .deferred && !rule.isSmall && !isMixed }

  /// Whether bytes may be served before the complete blob is verified: unverified by policy, or each chunk
  /// verified by a list.
  var servesPartial: Bool { chunks != nil || servesUnverified }

  /// Returns whether the bytes of a range may be served to a reader.
  private func isReady(_ range: Range<Int64>, _ blob: Partial) -> Bool {
    Self.isReady(range, blob, chunks, servesUnverified, isReader: true)
  }

  /// Returns whether the bytes of a range may be served; for a command that prefetches, whether they are on
  /// the disk.
  static func isReady(
    _ range: Range<Int64>,
    _ blob: Partial,
    _ chunks: TrustedChunks?,
    _ servesUnverified: Bool,
    isReader: Bool
  ) -> Bool {
    if let chunks { return chunks.covers(range) }
    return servesUnverified && (isReader ? blob.holds(range) : blob.contains(range))
  }

  /// Returns the complete chunks around a range if a list is in use, else the range.
  func aligned(_ range: Range<Int64>) -> Range<Int64> { chunks?.aligned(range) ?? range }

  /// Whether one of the waiters for all bytes is a reader.
  var hasReaderOfAllBytes: Bool { waiters.all.contains { $0.needsWhole && $0.isReader } }

  // MARK: Chunks

  /// Returns the present chunks of a range that were not compared, and marks them as being compared.
  mutating func takeUnchecked(in range: Range<Int64>) -> (blob: Partial, list: ChunkList, chunks: [Int])? {
    guard let blob = partial, let list = chunks?.list else { return nil }
    let found = trust.chunks?.takeUnchecked(in: range) { blob.contains($0) } ?? []
    return found.isEmpty ? nil : (blob, list, found)
  }

  /// Whether every chunk was compared with a list that proves the digest; nil if no such list is in use.
  var isProven: Bool? {
    guard let chunks, let blob = partial, chunks.list.isProof(of: digest) else { return nil }
    return blob.isComplete && chunks.isVerified
  }

  /// Returns whether a chunk list must still be looked up.
  func needsList(_ named: Digest?) -> Bool { partial != nil && trust.needsList(named) }

  /// Notes that bytes of more than one source may be present.
  mutating func mix() { isMixed = true }

  // MARK: Taking waiters

  /// Removes and returns the waiters that need a chunk, except those for all bytes.
  mutating func takeWaiters(ofChunk chunk: Int) -> [Waiter] {
    guard let list = chunks?.list, partial != nil else { return [] }
    let blocks = BlockMap.blocks(touching: list.range(of: chunk), size: size)
    return take { waiter, needed in !waiter.needsWhole && needed.overlaps(blocks) }
  }

  /// Removes and returns the waiters for blocks that are absent, and those for all bytes.
  mutating func takeWaiters(lacking runs: [Range<Int>], sparesReaders: Bool) -> [Waiter] {
    guard let blob = partial else { return [] }
    let lost = runs.flatMap { blob.missing(in: $0) }
    return take { waiter, needed in
      if waiter.needsWhole { return true }
      if sparesReaders, waiter.isReader { return false }
      return lost.contains { $0.overlaps(needed) }
    }
  }

  /// Removes and returns the readers of absent blocks whose range fits into memory.
  mutating func takeReaders(lacking runs: [Range<Int>], limit: Int64) -> [Waiter] {
    guard let blob = partial else { return [] }
    let lost = runs.flatMap { blob.missing(in: $0) }
    return take { waiter, needed in
      waiter.isReader && !waiter.needsWhole && Int64(waiter.range.count) <= limit
        && lost.contains { $0.overlaps(needed) }
    }
  }

  /// Removes and returns all readers of bytes.
  mutating func takeReaders() -> [Waiter] { waiters.take { $0.isReader && !$0.range.isEmpty } }

  private mutating func take(where isOver: (Waiter, Range<Int>) -> Bool) -> [Waiter] {
    let (chunks, size) = (chunks, size)
    return waiters.take { waiter in
      let range = chunks?.aligned(waiter.range) ?? waiter.range
      return isOver(waiter, BlockMap.blocks(touching: range, size: size))
    }
  }

  /// The waiters whose waits end: those of killed callers, and those past the deadline.
  struct Sweep {
    var killed: [Waiter] = []
    var late: [Waiter] = []
    /// Whether no waiter is left.
    var isOver = false
  }

  /// Removes and returns the waiters whose wait is over.
  ///
  /// - Parameters:
  ///   - now: The current time.
  ///   - deadline: The longest time without progress.
  ///   - dying: The threads that are being killed.
  ///   - progress: Returns the time of the last byte that is progress for the blocks that a waiter needs.
  mutating func sweep(
    now: ContinuousClock.Instant,
    deadline: Duration,
    dying: Set<Int32>,
    progress: (Range<Int>) -> ContinuousClock.Instant
  ) -> Sweep {
    var sweep = Sweep()
    sweep.killed = waiters.take { waiter in waiter.caller.map { dying.contains($0) } ?? false }
    if !isBusy {
      let (chunks, size) = (chunks, size)
      sweep.late = waiters.take { waiter in
        let needed = waiter.needed(of: size)
        let blocks = BlockMap.blocks(touching: chunks?.aligned(needed) ?? needed, size: size)
        return now - max(waiter.since, progress(blocks)) > deadline
      }
    }
    if !sweep.late.isEmpty { lastTimeout = (now, sweep.late.map(\.range)) }
    if waiters.isEmpty { isWatched = false }
    sweep.isOver = waiters.isEmpty
    return sweep
  }

  /// Whether bytes are being hashed or committed.
  private var isBusy: Bool {
    if case .complete(_, .checking) = phase { return true }
    return isHashing
  }
}
