import Content
import BlobCache
import LocalRegistry
import OCI
import Locking

/// Handles sources that do not support ranges: their single stream is kept, and serves every reader that it
/// passes.
extension LazyBlob {
  // The length of the start of a blob that is always kept; the largest headers of model files have about 10
  // MiB.
  private static let keptStart: Int64 = 32 << 20

  /// Takes every block that no other flight fetches, as the source sends the blob from its start.
  ///
  /// Bytes for which no space can be reserved are not kept.
  func widen(_ flight: UInt64, _ control: FlightControl, _ ingest: BlobIngest, _ blob: PartialBlob) {
    let blocks = BlockMap.blockCount(size: descriptor.size)
    let runs = state.withLock { state in
      // The stream starts at the first byte: it serves waiting requests sooner than their turn would.
      state.demand.table.takeWaiting(blob.missing(in: 0..<blocks))
    }
    for run in runs where ingest.reserveNow(run) {
      widen(flight, control.purpose, blob, run)
    }
  }

  /// Claims a run, or the parts of it that no other process fetches.
  private func widen(_ flight: UInt64, _ purpose: Purpose, _ blob: PartialBlob, _ run: Range<Int>) {
    let isFree = state.withLock { state in
      let isFree = state.demand.table.uncovered([run]) == [run]
      if isFree { state.demand.table.begin(flight, purpose, run) }
      return isFree
    }
    guard isFree else { return }
    guard (try? blob.claim(run)) == nil else { return }
    state.withLock { $0.demand.table.giveBack(run, of: flight) }
    guard run.count > 1 else { return }
    let middle = run.lowerBound + run.count / 2
    widen(flight, purpose, blob, run.lowerBound..<middle)
    widen(flight, purpose, blob, middle..<run.upperBound)
  }

  /// Returns whether a widened flight should continue: a waiter needs bytes, or the blob is to be completed.
  func wantsMore(_ blob: PartialBlob) -> Bool {
    guard !blob.isComplete else { return false }
    return state.withLock { state in
      if state.blob.wantsAllBytes || (store.policy.fill == .background && state.demand.isContentRead) {
        return true
      }
      // Otherwise the next read of a header would start the stream again.
      let reached = blob.nextMissing(from: 0, limit: 1)?.lowerBound ?? 0
      if Int64(reached) * BlockMap.blockSize < Self.keptStart { return true }
      if let content = state.blob.partial, state.demand.lacksProfile(content) { return true }
      return state.blob.waiters.all.contains { $0.needsWhole || !blob.contains($0.range) }
    }
  }
}
