import BlobCache
import Content
import OCI

/// Which bytes may be served, and to which waiters.
extension BlobState {
  /// How a read is answered without waiting.
  enum Hit: Sendable {
    case file(File)
    case partial(Partial)
    case bad(ContentError)
    /// The chunk differed twice a moment ago.
    case refusedChunk(Int)
    /// A reader waited for the same bytes in vain a moment ago.
    case justTimedOut
    case miss
  }

  // The kernel asks again, page by page, for what failed as readahead: one wait is enough for both.
  private static var timeoutMemory: Duration { .seconds(1) }

  /// The answer to a read.
  ///
  /// - Parameters:
  ///   - range: bytes within the blob, not empty.
  ///   - now: the time.
  ///   - progress: the time of the last byte that arrived.
  func hit(_ range: Range<Int64>, now: ContinuousClock.Instant, progress: ContinuousClock.Instant) -> Hit {
    switch phase {
    case .complete(let file, let trust):
      return trust == .verified || rule.verify != .strict ? .file(file) : .miss
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

  /// The list in use, with the chunks that were compared; nil for none.
  var chunks: TrustedChunks? { trust.chunks }

  /// The partial blob, while the blob is one.
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

  /// Whether bytes may be served that nothing vouches for yet.
  var servesUnverified: Bool { rule.verify == .deferred && !rule.isSmall && !isMixed }

  /// Whether bytes may be served before all are verified: unverified by policy, or each verified by a list.
  var servesPartial: Bool { chunks != nil || servesUnverified }

  /// Whether the bytes of a range may be served to a reader.
  private func isReady(_ range: Range<Int64>, _ blob: Partial) -> Bool {
    Self.isReady(range, blob, chunks, servesUnverified, isReader: true)
  }

  /// Whether the bytes of a range may be served; to a command that fetches ahead, whether they are on the disk.
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

  /// Complete chunks around a range where a list is used, else the range.
  func aligned(_ range: Range<Int64>) -> Range<Int64> { chunks?.aligned(range) ?? range }

  /// The blocks that a waiter needs before it is answered.
  func blocks(of waiter: Waiter) -> Range<Int> {
    BlockMap.blocks(touching: aligned(waiter.needed(of: size)), size: size)
  }

  /// Whether a waiter for all bytes is a reader.
  var hasReaderOfAllBytes: Bool { waiters.all.contains { $0.needsWhole && $0.isReader } }

  // MARK: Chunks

  /// The chunks of a range that are present and were not compared; they count as being compared from now on.
  mutating func takeUnchecked(in range: Range<Int64>) -> (blob: Partial, list: ChunkList, chunks: [Int])? {
    guard let blob = partial, let list = chunks?.list else { return nil }
    let found = trust.chunks?.takeUnchecked(in: range) { blob.contains($0) } ?? []
    return found.isEmpty ? nil : (blob, list, found)
  }

  /// Whether every chunk was compared with a list that vouches for the digest; nil where no such list is used.
  var isProven: Bool? {
    guard let chunks, let blob = partial, chunks.list.isProof(of: digest) else { return nil }
    return blob.isComplete && chunks.isVerified
  }

  /// Whether a list is still to be looked for.
  func needsList(_ named: Digest?) -> Bool { partial != nil && trust.needsList(named) }

  /// Bytes of a further source may be present.
  mutating func mix() { isMixed = true }

  // MARK: Taking waiters

  /// Removes and returns the waiters that need a chunk, those for all bytes apart.
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

  /// The ends of waits: of dying callers, and of those that waited too long.
  struct Sweep {
    var killed: [Waiter] = []
    var late: [Waiter] = []
    /// No waiter is left.
    var isOver = false
  }

  /// Removes and returns the waiters whose wait is over.
  ///
  /// - Parameters:
  ///   - now: the time.
  ///   - deadline: the longest time without progress.
  ///   - dying: threads that are being killed.
  ///   - progress: the time of the last byte that is progress for a waiter.
  mutating func sweep(
    now: ContinuousClock.Instant,
    deadline: Duration,
    dying: Set<Int32>,
    progress: (Waiter) -> ContinuousClock.Instant
  ) -> Sweep {
    var sweep = Sweep()
    sweep.killed = waiters.take { waiter in waiter.caller.map { dying.contains($0) } ?? false }
    if !isBusy { sweep.late = waiters.take { now - max($0.since, progress($0)) > deadline } }
    if !sweep.late.isEmpty { lastTimeout = (now, sweep.late.map(\.range)) }
    if waiters.isEmpty { isWatched = false }
    sweep.isOver = waiters.isEmpty
    return sweep
  }

  /// Bytes are being hashed or committed.
  private var isBusy: Bool {
    if case .complete(_, .checking) = phase { return true }
    return isHashing
  }
}
