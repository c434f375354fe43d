import BlobCache
import LocalRegistry

/// Which chunks of a blob were read, in the order in which each was first.
///
/// Pure.
package struct AccessRecorder: Sendable {
  private var seen = RangeSet<Int>()
  private let chunkCount: Int
  /// Runs of chunks, in order.
  package private(set) var runs: [Range<Int>] = []

  /// Nothing was read yet.
  ///
  /// - Parameter blobSize: bytes.
  package init(blobSize: Int64) {
    chunkCount = BlockMap.chunkCount(size: blobSize)
  }

  /// Takes a read.
  ///
  /// - Parameter range: within the blob.
  package mutating func note(_ range: Range<Int64>) {
    guard !range.isEmpty else { return }
    for chunk in BlockMap.chunks(touching: range).clamped(to: 0..<chunkCount) where !seen.contains(chunk) {
      seen.insert(contentsOf: chunk..<chunk + 1)
      if let run = runs.last, run.upperBound == chunk {
        runs[runs.count - 1] = run.lowerBound..<chunk + 1
      } else {
        runs.append(chunk..<chunk + 1)
      }
    }
  }
}
