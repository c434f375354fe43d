import BlobCache
import Content
import Locking
import OCI

/// Ends waits: after a time without a byte, and when the reading thread is killed.
extension LazyBlob {
  // The wait after which a reader is checked for being killed, so that short waits do not read /proc.
  private static let shortWait: Duration = .milliseconds(200)

  func startWatch() {
    let store = store
    Task { [weak self] in
      while true {
        // The sleep ends early only in a cancelled task, and this task is never cancelled.
        try? await Task.sleep(for: store.watchInterval)
        guard let self, self.sweep(now: ContinuousClock.now) else { return }
      }
    }
  }

  /// Ends waits that are too long or whose caller is being killed.
  ///
  /// - Returns: Whether replies still wait.
  @discardableResult
  func sweep(now: ContinuousClock.Instant) -> Bool {
    // Checked without the lock: the transfer thread must not wait for /proc.
    let callers = state.withLock { state in
      Set(state.blob.waiters.all.filter { now - $0.since > Self.shortWait }.compactMap(\.caller))
    }
    // A waiter whose request is not sent yet waits for other requests: their bytes also count as progress.
    let turn = store.scheduler.lastProgress(of: link)
    let dying = callers.filter { $0 > 0 && CallerState.isBeingKilled($0) }
    let sweep = state.withLock { state in
      let table = state.demand.table
      return state.blob.sweep(now: now, deadline: store.policy.patience, dying: dying) { blocks in
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
