/// Which blocks of a blob are there.
///
/// Pure.
package struct BlockMap: Sendable, Equatable {
  /// Bytes of a block, the unit of presence.
  package static let blockSize: Int64 = 64 << 10
  /// Bytes of a chunk, the unit of verification.
  package static let chunkSize: Int64 = 1 << 20

  /// Of the blob, bytes.
  package let size: Int64
  /// One byte a block, 1 where it is there: as the file on disk has it, so that two processes never write one byte.
  private(set) var states: [UInt8]
  /// How many blocks are there.
  package private(set) var presentCount = 0
  /// Every block before it is there.
  private var front = 0

  /// Makes a map of a blob of which nothing is there.
  ///
  /// - Parameter size: of the blob, bytes.
  package init(size: Int64) {
    self.size = size
    states = [UInt8](repeating: 0, count: Int((size + Self.blockSize - 1) / Self.blockSize))
  }

  /// How many blocks the blob has.
  package var blockCount: Int { states.count }
  /// How many chunks the blob has.
  package var chunkCount: Int { Self.chunkCount(size: size) }
  /// Whether every block is there.
  package var isComplete: Bool { presentCount == states.count }

  /// Bytes that are there.
  package var presentBytes: Int64 {
    guard presentCount > 0 else { return 0 }
    let last = states.count - 1
    let lost = states[last] == 1 ? Int64(states.count) * Self.blockSize - size : 0
    return Int64(presentCount) * Self.blockSize - lost
  }

  /// Bytes of a range that are there.
  ///
  /// - Parameter range: bytes within the blob.
  /// - Returns: how many.
  package func presentBytes(in range: Range<Int64>) -> Int64 {
    var sum: Int64 = 0
    for block in blocks(touching: range) where states[block] == 1 {
      sum += Int64(bytes(of: block..<block + 1).clamped(to: range).count)
    }
    return sum
  }

  /// Whether a block is there.
  ///
  /// - Parameter block: its number.
  /// - Returns: true if so.
  package func contains(block: Int) -> Bool { states[block] == 1 }

  /// Whether every byte of a range is there.
  ///
  /// - Parameter range: bytes.
  /// - Returns: true if so.
  package func contains(_ range: Range<Int64>) -> Bool {
    blocks(touching: range).allSatisfy { states[$0] == 1 }
  }

  /// Whether every block of a chunk is there.
  ///
  /// - Parameter chunk: its number.
  /// - Returns: true if so.
  package func contains(chunk: Int) -> Bool {
    chunk < chunkCount && contains(Self.bytes(ofChunk: chunk, size: size))
  }

  /// The blocks that a range of bytes lies in.
  ///
  /// - Parameter range: bytes within the blob.
  /// - Returns: what was asked for.
  package func blocks(touching range: Range<Int64>) -> Range<Int> { Self.blocks(touching: range, size: size) }

  /// The blocks that a range of bytes of a blob lies in.
  ///
  /// - Parameters:
  ///   - range: bytes within the blob.
  ///   - size: of the blob.
  /// - Returns: their numbers.
  package static func blocks(touching range: Range<Int64>, size: Int64) -> Range<Int> {
    guard !range.isEmpty else { return 0..<0 }
    let first = Int(range.lowerBound / blockSize)
    let end = Int((min(range.upperBound, size) + blockSize - 1) / blockSize)
    return first..<max(first, end)
  }

  /// The bytes of some blocks.
  ///
  /// - Parameter blocks: their numbers.
  /// - Returns: what was asked for.
  package func bytes(of blocks: Range<Int>) -> Range<Int64> { Self.bytes(of: blocks, size: size) }

  /// The bytes of some blocks of a blob.
  ///
  /// - Parameters:
  ///   - blocks: their numbers.
  ///   - size: of the blob.
  /// - Returns: within the blob.
  package static func bytes(of blocks: Range<Int>, size: Int64) -> Range<Int64> {
    Int64(blocks.lowerBound) * blockSize..<min(Int64(blocks.upperBound) * blockSize, size)
  }

  /// How many blocks a blob has.
  ///
  /// - Parameter size: of the blob.
  /// - Returns: the last one may be shorter.
  package static func blockCount(size: Int64) -> Int { Int((size + blockSize - 1) / blockSize) }

  /// How many chunks a blob has.
  ///
  /// - Parameter size: of the blob.
  /// - Returns: the last one may be shorter.
  package static func chunkCount(size: Int64) -> Int { Int((size + chunkSize - 1) / chunkSize) }

  /// The chunks that a range of bytes lies in.
  ///
  /// - Parameter range: not empty.
  /// - Returns: their numbers.
  package static func chunks(touching range: Range<Int64>) -> Range<Int> {
    Int(range.lowerBound / chunkSize)..<Int((range.upperBound - 1) / chunkSize) + 1
  }

  /// The bytes of a chunk.
  ///
  /// - Parameters:
  ///   - chunk: its number.
  ///   - size: of the blob.
  /// - Returns: what was asked for.
  package static func bytes(ofChunk chunk: Int, size: Int64) -> Range<Int64> {
    Int64(chunk) * chunkSize..<min(Int64(chunk + 1) * chunkSize, size)
  }

  /// Runs of blocks that are not there, in order.
  ///
  /// - Parameter blocks: where to look.
  /// - Returns: all of them, in order.
  package func missing(in blocks: Range<Int>) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    var start: Int?
    for block in blocks {
      if states[block] == 1 {
        if let first = start { runs.append(first..<block) }
        start = nil
      } else if start == nil {
        start = block
      }
    }
    if let first = start { runs.append(first..<blocks.upperBound) }
    return runs
  }

  /// The first block at or behind another that is not there.
  ///
  /// - Parameter block: where to begin.
  /// - Returns: nil where there is none.
  package func firstMissing(from block: Int) -> Int? {
    states[min(max(block, front), states.count)...].firstIndex(of: 0)
  }

  /// The first block at or behind another that is there.
  ///
  /// - Parameters:
  ///   - block: where to begin.
  ///   - end: where to stop looking.
  /// - Returns: `end` where there is none before it.
  package func firstPresent(from block: Int, before end: Int) -> Int {
    let end = min(end, states.count)
    guard block < end else { return end }
    return states[block..<end].firstIndex(of: 1) ?? end
  }

  /// Notes that blocks are there.
  ///
  /// - Parameter blocks: their numbers.
  package mutating func insert(_ blocks: Range<Int>) {
    for block in blocks where states[block] == 0 {
      states[block] = 1
      presentCount += 1
    }
    if blocks.contains(front) {
      front = states[blocks.upperBound...].firstIndex(of: 0) ?? states.count
    }
  }

  /// Notes that blocks are not there.
  ///
  /// - Parameter blocks: their numbers.
  package mutating func remove(_ blocks: Range<Int>) {
    for block in blocks where states[block] == 1 {
      states[block] = 0
      presentCount -= 1
    }
    front = min(front, blocks.lowerBound)
  }
}
