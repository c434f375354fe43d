package import BlobCache
import LocalRegistry

/// Which chunks of a blob were held against a trusted list, and which failed.
///
/// Pure: time is given by the caller.
package struct TrustedChunks: Sendable {
  private enum Mark: UInt8 {
    case unknown
    case checking
    case verified
  }

  /// What to do with a chunk that is wrong.
  package enum Verdict: Sendable, Equatable {
    /// Fetch it once more, from another place or over another connection.
    case retry
    /// Tell who waits; it is not asked for again for a while.
    case giveUp
  }

  package let list: ChunkList
  private var marks: [UInt8]
  private var verifiedCount = 0
  private var failures: [Int: Int] = [:]
  private var refusals: [Int: ContinuousClock.Instant] = [:]

  /// Nothing is verified yet.
  ///
  /// - Parameter list: trusted.
  package init(_ list: ChunkList) {
    self.list = list
    marks = [UInt8](repeating: Mark.unknown.rawValue, count: list.count)
  }

  /// Whether every byte of a range was verified.
  ///
  /// - Parameter range: within the blob.
  package func covers(_ range: Range<Int64>) -> Bool {
    list.chunks(touching: range).allSatisfy { marks[$0] == Mark.verified.rawValue }
  }

  /// Whether every chunk was verified.
  package var isVerified: Bool { verifiedCount == list.count }

  /// The whole chunks around a range.
  ///
  /// - Parameter range: within the blob.
  package func aligned(_ range: Range<Int64>) -> Range<Int64> {
    let chunks = list.chunks(touching: range)
    guard let first = chunks.first, let last = chunks.last else { return range }
    return list.range(of: first).lowerBound..<list.range(of: last).upperBound
  }

  /// The chunks that are there and were not looked at; they count as being looked at from now on.
  ///
  /// - Parameters:
  ///   - range: where to look.
  ///   - isPresent: whether all bytes of a range are there.
  package mutating func takeUnchecked(in range: Range<Int64>, _ isPresent: (Range<Int64>) -> Bool) -> [Int] {
    var found: [Int] = []
    for chunk in list.chunks(touching: range)
    where marks[chunk] == Mark.unknown.rawValue && isPresent(list.range(of: chunk)) {
      marks[chunk] = Mark.checking.rawValue
      found.append(chunk)
    }
    return found
  }

  /// A chunk is right.
  ///
  /// - Parameter chunk: its number.
  package mutating func pass(_ chunk: Int) {
    if marks[chunk] != Mark.verified.rawValue { verifiedCount += 1 }
    marks[chunk] = Mark.verified.rawValue
    failures[chunk] = nil
    refusals[chunk] = nil
  }

  /// A chunk could not be looked at.
  ///
  /// - Parameter chunk: its number.
  package mutating func abandon(_ chunk: Int) { forget(chunk) }

  private mutating func forget(_ chunk: Int) {
    if marks[chunk] == Mark.verified.rawValue { verifiedCount -= 1 }
    marks[chunk] = Mark.unknown.rawValue
  }

  /// A chunk is wrong.
  ///
  /// - Parameters:
  ///   - chunk: its number.
  ///   - end: until when it is not asked for again if it was wrong before.
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

  /// The first chunk of a range that is not asked for now.
  ///
  /// - Parameters:
  ///   - range: within the blob.
  ///   - now: the time.
  /// - Returns: nil where all may be asked for.
  package func firstRefused(in range: Range<Int64>, now: ContinuousClock.Instant) -> Int? {
    guard !refusals.isEmpty else { return nil }
    return list.chunks(touching: range).first { refusals[$0].map { $0 > now } ?? false }
  }
}
