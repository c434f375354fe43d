/// The blocks of a blob that are present.
///
/// Pure. Its memory follows the blocks that are present, not the size that a manifest claims: a page of bits exists
/// from the first block in it on.
package struct BlockMap: Sendable, Equatable {
  /// Bytes of a block, the unit of presence.
  package static let blockSize: Int64 = 64 << 10
  /// Bytes of a chunk, the unit of verification.
  package static let chunkSize: Int64 = 1 << 20

  // A page covers 256 MiB of the blob with 512 bytes.
  private static let pageBlocks = 4096
  private static let wordBits = 64

  /// Of the blob, bytes.
  package let size: Int64
  /// How many blocks the blob has.
  package let blockCount: Int
  /// Bits of blocks by the number of their page; a page without a bit does not exist.
  private var pages: [Int: [UInt64]] = [:]
  /// How many blocks are present.
  package private(set) var presentCount = 0
  /// Every block before it is present.
  private var front = 0

  /// Makes a map of a blob of which no block is present.
  ///
  /// - Parameter size: of the blob, bytes.
  package init(size: Int64) {
    self.size = size
    blockCount = Self.blockCount(size: size)
  }

  /// How many chunks the blob has.
  package var chunkCount: Int { Self.chunkCount(size: size) }
  /// Whether every block is present.
  package var isComplete: Bool { presentCount == blockCount }

  /// Bytes that are present.
  package var presentBytes: Int64 {
    guard presentCount > 0 else { return 0 }
    let lost = contains(block: blockCount - 1) ? Int64(blockCount) * Self.blockSize - size : 0
    return Int64(presentCount) * Self.blockSize - lost
  }

  /// Bytes of a range that are present.
  ///
  /// - Parameter range: bytes within the blob.
  /// - Returns: how many.
  package func presentBytes(in range: Range<Int64>) -> Int64 {
    guard !range.isEmpty else { return 0 }
    let missing = missing(in: blocks(touching: range)).reduce(Int64(0)) {
      $0 + Int64(bytes(of: $1).clamped(to: range).count)
    }
    return Int64(range.count) - missing
  }

  /// Whether a block is present.
  ///
  /// - Parameter block: its number.
  /// - Returns: false also behind the last block.
  package func contains(block: Int) -> Bool {
    guard let page = pages[block / Self.pageBlocks] else { return false }
    let bit = block % Self.pageBlocks
    return page[bit / Self.wordBits] >> UInt64(bit % Self.wordBits) & 1 == 1
  }

  /// Whether every byte of a range is present.
  ///
  /// - Parameter range: bytes.
  /// - Returns: true also for an empty range.
  package func contains(_ range: Range<Int64>) -> Bool {
    let blocks = blocks(touching: range)
    if blocks.upperBound <= front { return true }
    return blocks.allSatisfy { contains(block: $0) }
  }

  /// Whether every block of a chunk is present.
  ///
  /// - Parameter chunk: its number.
  package func contains(chunk: Int) -> Bool {
    chunk < chunkCount && contains(Self.bytes(ofChunk: chunk, size: size))
  }

  /// The blocks that a range of bytes lies in.
  ///
  /// - Parameter range: bytes within the blob.
  package func blocks(touching range: Range<Int64>) -> Range<Int> { Self.blocks(touching: range, size: size) }

  /// The blocks that a range of bytes of a blob lies in.
  ///
  /// - Parameters:
  ///   - range: bytes within the blob.
  ///   - size: of the blob.
  package static func blocks(touching range: Range<Int64>, size: Int64) -> Range<Int> {
    guard !range.isEmpty else { return 0..<0 }
    let first = Int(range.lowerBound / blockSize)
    let end = Int((min(range.upperBound, size) + blockSize - 1) / blockSize)
    return first..<max(first, end)
  }

  /// The bytes of some blocks.
  ///
  /// - Parameter blocks: their numbers.
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
  package static func chunks(touching range: Range<Int64>) -> Range<Int> {
    Int(range.lowerBound / chunkSize)..<Int((range.upperBound - 1) / chunkSize) + 1
  }

  /// The bytes of a chunk.
  ///
  /// - Parameters:
  ///   - chunk: its number.
  ///   - size: of the blob.
  package static func bytes(ofChunk chunk: Int, size: Int64) -> Range<Int64> {
    Int64(chunk) * chunkSize..<min(Int64(chunk + 1) * chunkSize, size)
  }

  /// Runs of blocks that are missing, in order.
  ///
  /// - Parameter blocks: where to look.
  /// - Returns: runs within `blocks`, none touching another.
  package func missing(in blocks: Range<Int>) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    var position = blocks.lowerBound
    while position < blocks.upperBound {
      let first = next(isPresent: false, from: position, before: blocks.upperBound)
      guard first < blocks.upperBound else { break }
      position = next(isPresent: true, from: first, before: blocks.upperBound)
      runs.append(first..<position)
    }
    return runs
  }

  /// The first block at or behind another that is missing.
  ///
  /// - Parameter block: where to begin.
  /// - Returns: nil where there is none.
  package func firstMissing(from block: Int) -> Int? {
    let found = next(isPresent: false, from: max(block, front), before: blockCount)
    return found < blockCount ? found : nil
  }

  /// The first block at or behind another that is present.
  ///
  /// - Parameters:
  ///   - block: where to begin.
  ///   - end: where to stop looking.
  /// - Returns: `end` where there is none before it.
  package func firstPresent(from block: Int, before end: Int) -> Int {
    next(isPresent: true, from: block, before: min(end, blockCount))
  }

  /// The first block in a range whose bit is as asked for; the end of the range where there is none.
  private func next(isPresent: Bool, from start: Int, before end: Int) -> Int {
    var position = start
    while position < end {
      let (number, offset) = position.quotientAndRemainder(dividingBy: Self.pageBlocks)
      guard let page = pages[number] else {
        if !isPresent { return position }
        position = (number + 1) * Self.pageBlocks
        continue
      }
      var word = offset / Self.wordBits
      var shift = offset % Self.wordBits
      while word < page.count {
        let bits = (isPresent ? page[word] : ~page[word]) >> UInt64(shift)
        if bits != 0 {
          let found = number * Self.pageBlocks + word * Self.wordBits + shift + bits.trailingZeroBitCount
          return min(found, end)
        }
        (word, shift) = (word + 1, 0)
      }
      position = (number + 1) * Self.pageBlocks
    }
    return end
  }

  /// Notes that blocks are present.
  ///
  /// - Parameter blocks: their numbers.
  package mutating func insert(_ blocks: Range<Int>) {
    change(blocks) { word, mask in
      defer { word |= mask }
      return (mask & ~word).nonzeroBitCount
    }
    if blocks.contains(front) { front = next(isPresent: false, from: blocks.upperBound, before: blockCount) }
  }

  /// Notes that blocks are missing.
  ///
  /// - Parameter blocks: their numbers.
  package mutating func remove(_ blocks: Range<Int>) {
    change(blocks) { word, mask in
      defer { word &= ~mask }
      return -(mask & word).nonzeroBitCount
    }
    for number in blocks.lowerBound / Self.pageBlocks...blocks.upperBound / Self.pageBlocks
    where pages[number]?.allSatisfy({ $0 == 0 }) ?? false {
      pages[number] = nil
    }
    front = min(front, blocks.lowerBound)
  }

  /// Changes bits word by word; the closure returns by how many blocks the count changes.
  private mutating func change(_ blocks: Range<Int>, _ body: (inout UInt64, _ mask: UInt64) -> Int) {
    var position = blocks.lowerBound
    while position < blocks.upperBound {
      let (number, offset) = position.quotientAndRemainder(dividingBy: Self.pageBlocks)
      let end = min(blocks.upperBound, (number + 1) * Self.pageBlocks)
      let empty = [UInt64](repeating: 0, count: Self.pageBlocks / Self.wordBits)
      var bit = offset
      let last = offset + end - position
      var sum = 0
      while bit < last {
        let shift = bit % Self.wordBits
        let count = min(Self.wordBits - shift, last - bit)
        let mask = count == Self.wordBits ? UInt64.max : ((1 << UInt64(count)) - 1) << UInt64(shift)
        sum += body(&pages[number, default: empty][bit / Self.wordBits], mask)
        bit += count
      }
      presentCount += sum
      position = end
    }
  }
}
