import Content
import Locking
package import OCI

/// A blob that is being fetched or verified, for `weightfs status`.
package struct BlobActivity: Sendable {
  package let digest: Digest
  /// The path of a file that was opened from the blob; nil if none was.
  package let name: String?
  /// The repository that the bytes come from.
  package let origin: String?
  /// Bytes.
  package let size: Int64
  package let cachedBytes: Int64
  /// Bytes per second of all requests in flight, over the last seconds.
  package let rate: Double
  package let requestCount: Int
  /// Reads that wait for bytes.
  package let waiterCount: Int
  /// The start of the longest wait of a read.
  package let waitingSince: ContinuousClock.Instant?

  /// Seconds until the blob is complete at the current rate; nil if no bytes arrive.
  package var secondsLeft: Double? { rate > 0 ? Double(size - cachedBytes) / rate : nil }
}

extension BlobStore {
  /// The blobs with work in progress, in the order of their names.
  package var activities: [BlobActivity] {
    busyBlobs.map(\.activity).sorted { ($0.name ?? "", $0.digest.hex) < ($1.name ?? "", $1.digest.hex) }
  }
}

extension LazyBlob {
  fileprivate var activity: BlobActivity {
    let cached = status.cachedBytes
    let now = ContinuousClock.now
    return state.withLock { state in
      let readers = state.blob.waiters.all.filter(\.isReader)
      return BlobActivity(
        digest: descriptor.digest,
        name: state.demand.formats.name(at: readers.first?.range.lowerBound),
        origin: state.sources.first?.origin,
        size: descriptor.size,
        cachedBytes: cached,
        rate: state.flights.values.compactMap { $0.rate(at: now) }.reduce(0, +),
        requestCount: state.flights.count,
        waiterCount: readers.count,
        waitingSince: readers.map(\.since).min()
      )
    }
  }
}
