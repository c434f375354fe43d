package import BlobCache
import LocalRegistry

/// Tracks which chunks of a blob were compared with a trusted list, and which differed.
///
/// Pure: time is given by the caller.
package struct TrustedChunks: Sendable {
  private enum Mark: UInt8 {
    case unknown
    case checking
    case verified
  }

  /// The action for a wrong chunk.
  package enum Verdict: Sendable, Equatable {
    /// Fetch the chunk once more, from another source or over another connection.
    case retry
    /// Fail the waiters of the chunk; it is not requested again for a while.
    case giveUp
  }

  package let list: ChunkList
  private var marks: [UInt8]
  private var verifiedCount = 0
  private var failures: [Int: Int] = [:]
  private var refusals: [Int: ContinuousClock.Instant] = [:]

  /// Creates a record without verified chunks.
  ///
  /// - Parameter list: The trusted list.
  package init(_ list: ChunkList) {
    self.list = list
    marks = [UInt8](repeating: Mark.unknown.rawValue, count: list.count)
  }

  /// Returns whether every byte of a range was verified.
  ///
  /// - Parameter range: A byte range within the blob.
  package func covers(_ range: Range<Int64>) -> Bool {
    list.chunks(touching: range).allSatisfy { marks[$0] == Mark.verified.rawValue }
  }

  /// Whether every chunk was verified.
  package var isVerified: Bool { verifiedCount == list.count }

  /// Returns the complete chunks around a range.
  ///
  /// - Parameter range: A byte range within the blob.
  package func aligned(_ range: Range<Int64>) -> Range<Int64> {
    let chunks = list.chunks(touching: range)
    guard let first = chunks.first, let last = chunks.last else { return range }
    return list.range(of: first).lowerBound..<list.range(of: last).upperBound
  }

  /// Returns the present chunks that were not compared, and marks them as being compared.
  ///
  /// - Parameters:
  ///   - range: The byte range to search.
  ///   - isPresent: Returns whether all bytes of a range are present.
  package mutating func takeUnchecked(in range: Range<Int64>, _ isPresent: (Range<Int64>) -> Bool) -> [Int] {
    var found: [Int] = []
    for chunk in list.chunks(touching: range)
    where marks[chunk] == Mark.unknown.rawValue && isPresent(list.range(of: chunk)) {
      marks[chunk] = Mark.checking.rawValue
      found.append(chunk)
    }
    return found
  }

  /// Marks a chunk as verified.
  ///
  /// - Parameter chunk: The index of the chunk.
  package mutating func pass(_ chunk: Int) {
    if marks[chunk] != Mark.verified.rawValue { verifiedCount += 1 }
    marks[chunk] = Mark.verified.rawValue
    failures[chunk] = nil
    refusals[chunk] = nil
  }

  /// Marks a chunk that could not be read as not compared.
  ///
  /// - Parameter chunk: The index of the chunk.
  package mutating func abandon(_ chunk: Int) { forget(chunk) }

  private mutating func forget(_ chunk: Int) {
    if marks[chunk] == Mark.verified.rawValue { verifiedCount -= 1 }
    marks[chunk] = Mark.unknown.rawValue
  }

  /// Notes a wrong chunk.
  ///
  /// - Parameters:
  ///   - chunk: The index of the chunk.
  ///   - end: The time until which the chunk is refused if it was wrong before.
  package mutating func fail(_ chunk: Int, refusedUntil end: ContinuousClock.Instant) -> Verdict {
    forget(chunk)
    let count = (failures[chunk] ?? 0) + 1
    guard count > 1 else {
      failures[chunk] = count
      return .retry
    }
    failures[chunk] = nil
    refusals[chunk] = end
    return .giveUp
  }

  /// Returns the first refused chunk of a range, or nil if all may be requested.
  ///
  /// - Parameters:
  ///   - range: A byte range within the blob.
  ///   - now: The current time.
  package func firstRefused(in range: Range<Int64>, now: ContinuousClock.Instant) -> Int? {
    guard !refusals.isEmpty else { return nil }
    return list.chunks(touching: range).first { refusals[$0].map { $0 > now } ?? false }
  }
}
