import BlobCache
import Content
import Locking
import OCI

/// Waits end: after a time without a byte, and with the thread that reads.
extension LazyBlob {
  func startWatch() {
    let isFirst = state.withLock { state in
      defer { state.isWatched = true }
      return !state.isWatched
    }
    guard isFirst else { return }
    let store = store
    Task { [weak self] in
      while true {
        try? await Task.sleep(for: store.watchInterval)
        guard let self, self.sweep(now: ContinuousClock.now) else { return }
      }
    }
  }

  /// Ends waits whose time is over or whose caller dies.
  ///
  /// False once nobody waits.
  @discardableResult
  func sweep(now: ContinuousClock.Instant) -> Bool {
    let deadline = store.policy.patience
    // Asked without the lock: the transfer thread must not wait for /proc.
    let callers = state.withLock { state in
      Set(state.waiters.all.filter { now - $0.since > .milliseconds(200) }.compactMap(\.caller))
    }
    // Who waits for a turn waits for others' bytes: that is progress too.
    let turn = store.scheduler.lastProgress(of: link)
    let dying = callers.filter { $0 > 0 && CallerState.isBeingKilled($0) }
    let (late, killed, isOver): ([Waiter], [Waiter], Bool) = state.withLock { state in
      let killed = state.waiters.take { waiter in waiter.caller.map { dying.contains($0) } ?? false }
      let (table, chunks) = (state.table, state.chunks)
      let late =
        state.isVerifying
        ? []
        : state.waiters.take { waiter in
          let others = waitsForTurn(waiter, table, chunks) ? turn ?? waiter.since : waiter.since
          return now - max(waiter.since, progress.instant, others) > deadline
        }
      if state.waiters.isEmpty { state.isWatched = false }
      if !late.isEmpty { state.lastTimeout = (now, late.map(\.range)) }
      return (late, killed, state.waiters.isEmpty)
    }
    for waiter in killed {
      waiter.reply.fail(ContentError(.cancelled, "\(descriptor.digest)", "the reader was killed"))
    }
    for waiter in late {
      let error = state.withLock { timeout(of: waiter.range, $0) }
      waiter.reply.fail(error)
    }
    if !isOver { helpSlowReaders(now) }
    return !isOver
  }

  /// Whether what somebody waits for is to be brought by a request that was not sent yet.
  private func waitsForTurn(_ waiter: Waiter, _ table: FetchTable, _ chunks: TrustedChunks?) -> Bool {
    let needed = waiter.needed(of: descriptor.size)
    let range = chunks?.aligned(needed) ?? needed
    return table.isWaiting(BlockMap.blocks(touching: range, size: descriptor.size))
  }

  func timeout(of range: Range<Int64>, _ state: borrowing State) -> ContentError {
    ContentError(
      .timedOut,
      subject(at: range.lowerBound, state),
      host: state.sources.first?.origin,
      "no byte arrived for \(store.policy.patience)",
      advice: "Check the connection to the registry; the next read tries again"
    )
  }

  // The kernel asks again, page by page, for what failed as readahead: one wait is enough for both.
  private static let timeoutMemory: Duration = .seconds(1)

  /// A part of the blob for its reader: the name of the file, where one is known, and the digest.
  func subject(at offset: Int64, _ state: borrowing State) -> String {
    state.formats.name(at: offset).map { "\($0) (\(descriptor.digest))" } ?? "\(descriptor.digest)"
  }

  /// Whether somebody waited for the same bytes in vain a moment ago, and nothing came since.
  func hasJustTimedOut(_ range: Range<Int64>, _ state: State) -> Bool {
    guard let last = state.lastTimeout, progress.instant < last.at else { return false }
    return ContinuousClock.now - last.at < Self.timeoutMemory && last.ranges.contains { $0.overlaps(range) }
  }
}
