import BlobCache
import Content
import Locking
import OCI

/// Waits end: after a time without a byte, and with the thread that reads.
extension LazyBlob {
  // A killed reader is noticed after this, so that short waits cost no look at /proc.
  private static let shortWait: Duration = .milliseconds(200)

  func startWatch() {
    let store = store
    Task { [weak self] in
      while true {
        // Only a cancelled task wakes early, and this one never is.
        try? await Task.sleep(for: store.watchInterval)
        guard let self, self.sweep(now: ContinuousClock.now) else { return }
      }
    }
  }

  /// Ends waits that are too long or whose caller dies.
  ///
  /// - Returns: false once no reply waits.
  @discardableResult
  func sweep(now: ContinuousClock.Instant) -> Bool {
    // Asked without the lock: the transfer thread must not wait for /proc.
    let callers = state.withLock { state in
      Set(state.blob.waiters.all.filter { now - $0.since > Self.shortWait }.compactMap(\.caller))
    }
    // A waiter whose request waits for its turn waits for others' bytes: those are progress too.
    let turn = store.scheduler.lastProgress(of: link)
    let dying = callers.filter { $0 > 0 && CallerState.isBeingKilled($0) }
    let sweep = state.withLock { state in
      let table = state.demand.table
      let chunks = state.blob.chunks
      return state.blob.sweep(now: now, deadline: store.policy.patience, dying: dying) { waiter in
        let needed = waiter.needed(of: descriptor.size)
        let blocks = BlockMap.blocks(touching: chunks?.aligned(needed) ?? needed, size: descriptor.size)
        guard let turn, table.isWaiting(blocks) else { return progress.instant }
        return max(progress.instant, turn)
      }
    }
    for waiter in sweep.killed {
      waiter.reply.fail(ContentError(.cancelled, "\(descriptor.digest)", "the reader was killed"))
    }
    for waiter in sweep.late { waiter.reply.fail(timeout(of: waiter.range)) }
    if !sweep.isOver { helpSlowReaders(now) }
    return !sweep.isOver
  }

  func timeout(of range: Range<Int64>) -> ContentError {
    ContentError(
      .timedOut,
      subject(at: range.lowerBound),
      host: origin,
      "no byte arrived for \(store.policy.patience)",
      advice: "Check the connection to the registry; the next read tries again"
    )
  }
}
