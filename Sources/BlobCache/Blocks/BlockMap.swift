/// The set of blocks of one blob that are present.
///
/// A pure value. Its memory grows with the number of blocks present, not with the size that a manifest
/// claims: a page of bits is allocated when its first block becomes present.
package struct BlockMap: Sendable, Equatable {
  /// Size of a block, the unit of presence, in bytes.
  package static let blockSize: Int64 = 64 << 10
  /// Size of a chunk, the unit of verification, in bytes.
  package static let chunkSize: Int64 = 1 << 20

  // One page of 512 bytes covers 256 MiB of the blob.
  private static let pageBlocks = 4096
  private static let wordBits = 64

  /// Size of the blob in bytes.
  package let size: Int64
  /// Number of blocks in the blob.
  package let blockCount: Int
  /// The bits of each page, by page number; a page without a set bit has no entry.
  private var pages: [Int: [UInt64]] = [:]
  /// Number of blocks that are present.
  package private(set) var presentCount = 0
  /// All blocks below this number are present.
  private var front = 0

  /// Creates a map with no block present.
  ///
  /// - Parameter size: The size of the blob in bytes.
  package init(size: Int64) {
    self.size = size
    blockCount = Self.blockCount(size: size)
  }

  /// Number of chunks in the blob.
  package var chunkCount: Int { Self.chunkCount(size: size) }
  /// Whether every block is present.
  package var isComplete: Bool { presentCount == blockCount }

  /// Number of bytes that are present.
  package var presentBytes: Int64 {
    guard presentCount > 0 else { return 0 }
    let lost = contains(block: blockCount - 1) ? Int64(blockCount) * Self.blockSize - size : 0
    return Int64(presentCount) * Self.blockSize - lost
  }

  /// Returns how many bytes of a range are present.
  ///
  /// - Parameter range: A byte range within the blob.
  package func presentBytes(in range: Range<Int64>) -> Int64 {
    guard !range.isEmpty else { return 0 }
    let missing = missing(in: blocks(touching: range)).reduce(Int64(0)) {
      $0 + Int64(bytes(of: $1).clamped(to: range).count)
    }
    return Int64(range.count) - missing
  }

  /// Whether a block is present; false for a number past the last block.
  package func contains(block: Int) -> Bool {
    guard let page = pages[block / Self.pageBlocks] else { return false }
    let bit = block % Self.pageBlocks
    return page[bit / Self.wordBits] >> UInt64(bit % Self.wordBits) & 1 == 1
  }

  /// Whether every byte of a range is present; true for an empty range.
  package func contains(_ range: Range<Int64>) -> Bool {
    let blocks = blocks(touching: range)
    if blocks.upperBound <= front { return true }
    return blocks.allSatisfy { contains(block: $0) }
  }

  /// Whether every block of a chunk is present.
  package func contains(chunk: Int) -> Bool {
    chunk < chunkCount && contains(Self.bytes(ofChunk: chunk, size: size))
  }

  /// Returns the blocks that overlap a byte range.
  ///
  /// - Parameter range: A byte range within the blob.
  package func blocks(touching range: Range<Int64>) -> Range<Int> { Self.blocks(touching: range, size: size) }

  /// Returns the blocks of a blob of `size` bytes that overlap a byte range.
  ///
  /// - Parameters:
  ///   - range: A byte range within the blob.
  ///   - size: The size of the blob in bytes.
  package static func blocks(touching range: Range<Int64>, size: Int64) -> Range<Int> {
    guard !range.isEmpty else { return 0..<0 }
    let first = Int(range.lowerBound / blockSize)
    let end = Int((min(range.upperBound, size) + blockSize - 1) / blockSize)
    return first..<max(first, end)
  }

  /// Returns the byte range that some blocks cover.
  package func bytes(of blocks: Range<Int>) -> Range<Int64> { Self.bytes(of: blocks, size: size) }

  /// Returns the byte range that some blocks of a blob of `size` bytes cover, clamped to the size.
  package static func bytes(of blocks: Range<Int>, size: Int64) -> Range<Int64> {
    Int64(blocks.lowerBound) * blockSize..<min(Int64(blocks.upperBound) * blockSize, size)
  }

  /// Returns the number of blocks in a blob; the last block may be shorter.
  ///
  /// - Parameter size: The size of the blob in bytes.
  package static func blockCount(size: Int64) -> Int { Int((size + blockSize - 1) / blockSize) }

  /// Returns the number of chunks in a blob; the last chunk may be shorter.
  ///
  /// - Parameter size: The size of the blob in bytes.
  package static func chunkCount(size: Int64) -> Int { Int((size + chunkSize - 1) / chunkSize) }

  /// Returns the chunks that overlap a byte range.
  ///
  /// - Parameter range: A byte range that is not empty.
  package static func chunks(touching range: Range<Int64>) -> Range<Int> {
    Int(range.lowerBound / chunkSize)..<Int((range.upperBound - 1) / chunkSize) + 1
  }

  /// Returns the byte range of a chunk.
  ///
  /// - Parameters:
  ///   - chunk: The number of the chunk.
  ///   - size: The size of the blob in bytes.
  package static func bytes(ofChunk chunk: Int, size: Int64) -> Range<Int64> {
    Int64(chunk) * chunkSize..<min(Int64(chunk + 1) * chunkSize, size)
  }

  /// Returns the runs of missing blocks within `blocks`, in ascending order; no two runs are adjacent.
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

  /// Returns the first missing block at or after `block`, or nil if all of them are present.
  package func firstMissing(from block: Int) -> Int? {
    let found = next(isPresent: false, from: max(block, front), before: blockCount)
    return found < blockCount ? found : nil
  }

  /// Returns the first present block in `block..<end`, or `end` if none is present.
  package func firstPresent(from block: Int, before end: Int) -> Int {
    next(isPresent: true, from: block, before: min(end, blockCount))
  }

  /// Returns the first block in a range whose bit equals `isPresent`, or the end of the range.
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

  /// Marks blocks as present.
  package mutating func insert(_ blocks: Range<Int>) {
    change(blocks) { word, mask in
      defer { word |= mask }
      return (mask & ~word).nonzeroBitCount
    }
    if blocks.contains(front) { front = next(isPresent: false, from: blocks.upperBound, before: blockCount) }
  }

  /// Marks blocks as missing.
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

  /// Changes bits word by word; the closure returns the change of the number of present blocks.
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
