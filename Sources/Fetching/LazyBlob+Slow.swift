import BlobCache
import Content
import LocalRegistry
import Logging
import OCI
import Locking
import Telemetry

/// Helps readers that wait for a slow, stalled or failing connection.
extension LazyBlob {
  // The time after which a wait counts as slow; requested bytes can usually arrive within it.
  private static let patience: Duration = .seconds(1)
  // The wait that is logged as a warning.
  private static let worthTelling: Duration = .seconds(5)
  private static let tellingInterval: Duration = .seconds(60)

  private struct Slow {
    let range: Range<Int64>
    let since: ContinuousClock.Instant
    /// The highest rate of the requests that fetch the awaited bytes, in bytes per second; nil if none was
    /// measured.
    let rate: Double?
  }

  /// Fetches awaited bytes over a second connection if the first is below the minimum rate; logs long waits.
  func helpSlowReaders(_ now: ContinuousClock.Instant) {
    let (slow, hedged, isNews, name, origin): ([Slow], Slow?, Bool, String?, String?) = state.withLock {
      state in
      guard let blob = state.blob.partial?.blob else { return ([], nil, false, nil, nil) }
      let readers = state.blob.waiters.all.filter { $0.isReader && now - $0.since > Self.patience }
      let slow = readers.map { waiter in
        let range = state.blob.aligned(waiter.needed(of: descriptor.size))
        let missing = blob.missing(in: BlockMap.blocks(touching: range, size: descriptor.size))
        let rates = state.demand.table.started(bringing: missing).compactMap {
          state.flights[$0]?.rate(at: now)
        }
        return Slow(range: waiter.range, since: waiter.since, rate: rates.max())
      }
      let isTooSlow = slow.first { reader in
        reader.rate.map { $0 < Double(store.policy.minimumRate) } ?? false && !reader.range.isEmpty
      }
      let hedged = isTooSlow.flatMap { state.demand.hedge.take(at: now) ? $0 : nil }
      let isLong = slow.contains { now - $0.since > Self.worthTelling }
      let isNews = isLong && (state.toldSlow.map { now - $0 > Self.tellingInterval } ?? true)
      if isNews { state.toldSlow = now }
      let first = slow.min { $0.since < $1.since }
      return (
        slow, hedged, isNews, state.demand.formats.name(at: first?.range.lowerBound),
        state.sources.first?.origin
      )
    }
    if isNews, let longest = slow.min(by: { $0.since < $1.since }) { tell(longest, name, origin, now) }
    guard let hedged else { return }
    store.log.debug(
      "a request is too slow: its bytes are fetched over another connection as well",
      metadata: ["blob": "\(descriptor.digest)", "bytes": "\(hedged.range)"]
    )
    start(FetchRequest(hedged.range, need: hedged.range, .demand, wantsNewConnection: true, isHedge: true))
  }

  private func tell(_ reader: Slow, _ name: String?, _ origin: String?, _ now: ContinuousClock.Instant) {
    var metadata: Logger.Metadata = [
      "file": "\(name ?? "-")", "blob": "\(descriptor.digest)", "bytes": "\(reader.range)",
      "waited": "\(now - reader.since)", "registry": "\(origin ?? "-")",
    ]
    if let rate = reader.rate { metadata["rate"] = "\(Int(rate)) B/s" }
    store.log.warning("a read waits for the network", metadata: metadata)
  }

  /// Logs bytes that could not be fetched; repetitions are suppressed for a while.
  func warn(_ runs: [Range<Int>], _ error: ContentError) {
    guard let suppressed = store.limiter.admit("fetch \(descriptor.digest) \(error.code)") else { return }
    let bytes = runs.first.map { BlockMap.bytes(of: $0, size: descriptor.size) }
    let name = fileName(at: bytes?.lowerBound)
    var metadata: Logger.Metadata = [
      "file": "\(name)", "blob": "\(descriptor.digest)", "reason": "\(error)",
    ]
    if let bytes { metadata["bytes"] = "\(bytes)" }
    if suppressed > 0 { metadata["repeated"] = "\(suppressed)" }
    store.log.warning("bytes of a blob could not be fetched", metadata: metadata)
  }
}
