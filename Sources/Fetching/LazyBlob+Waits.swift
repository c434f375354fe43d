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
      Set(state.pending.values.filter { now - $0.since > .milliseconds(200) }.compactMap(\.caller))
    }
    // Who waits for a turn waits for others' bytes: that is progress too.
    let turn = store.scheduler.lastProgress(of: link)
    let dying = callers.filter { $0 > 0 && CallerState.isBeingKilled($0) }
    let (late, killed, isOver): ([Pending], [Pending], Bool) = state.withLock { state in
      var late: [Pending] = []
      var killed: [Pending] = []
      for (identifier, pending) in state.pending {
        if let caller = pending.caller, dying.contains(caller) {
          killed.append(pending)
        } else if now
          - max(
            pending.since,
            progress.instant,
            waitsForTurn(pending, state) ? turn ?? pending.since : pending.since
          )
          > deadline, !state.isVerifying
        {
          late.append(pending)
        } else {
          continue
        }
        state.pending[identifier] = nil
        state.table.remove(identifier)
      }
      if state.pending.isEmpty { state.isWatched = false }
      if !late.isEmpty { state.lastTimeout = (now, late.map(\.range)) }
      return (late, killed, state.pending.isEmpty)
    }
    for pending in killed {
      pending.reply.fail(ContentError(.cancelled, "\(descriptor.digest)", "the reader was killed"))
    }
    let origin = state.withLock { $0.sources.first?.origin }
    for pending in late { pending.reply.fail(timeout(origin)) }
    if !isOver { helpSlowReaders(now) }
    return !isOver
  }

  /// Whether what somebody waits for is to be brought by a request that was not sent yet.
  private func waitsForTurn(_ pending: Pending, _ state: borrowing State) -> Bool {
    let range = pending.range.isEmpty ? 0..<descriptor.size : aligned(pending.range, state)
    return state.table.isWaiting(BlockMap.blocks(touching: range, size: descriptor.size))
  }

  func timeout(_ origin: String?) -> ContentError {
    ContentError(
      .timedOut,
      "\(descriptor.digest)",
      host: origin,
      "no byte arrived for \(store.policy.patience)",
      advice: "Check the connection to the registry; the next read tries again"
    )
  }

  // The kernel asks again, page by page, for what failed as readahead: one wait is enough for both.
  private static let timeoutMemory: Duration = .seconds(1)

  /// Whether somebody waited for the same bytes in vain a moment ago, and nothing came since.
  func hasJustTimedOut(_ range: Range<Int64>, _ state: State) -> Bool {
    guard let last = state.lastTimeout, progress.instant < last.at else { return false }
    return ContinuousClock.now - last.at < Self.timeoutMemory && last.ranges.contains { $0.overlaps(range) }
  }
}
