import BlobCache
import LocalRegistry

/// Records which chunks of a blob were read, in the order of their first reads.
///
/// Pure.
package struct AccessRecorder: Sendable {
  private var seen = RangeSet<Int>()
  private let chunkCount: Int
  /// The runs of chunks, in order of their first reads.
  package private(set) var runs: [Range<Int>] = []

  /// Creates a recorder without reads.
  ///
  /// - Parameter blobSize: The size of the blob in bytes.
  package init(blobSize: Int64) {
    chunkCount = BlockMap.chunkCount(size: blobSize)
  }

  /// Records a read.
  ///
  /// - Parameter range: A byte range within the blob.
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
