import CLinux
import Content
import Glibc
import OCI
import SystemPackage
import Disk

/// The map file of a partial blob: which blocks are present (docs/local-registry.md, "Partial blobs").
///
///     0   8  "WFSMAP01"
///     8   4  bytes of a block, little endian
///     12  4  bytes of a chunk
///     16  8  bytes of the blob
///     24  16 boot id of the kernel under which it was written
///     40  16 origin of the bytes: first 16 bytes of the SHA-256 of its name; zeros if unknown
///     64  n  one byte per block: 1 if present
///     …   33 per chunk: 1 and the SHA-256 of the chunk; 2 and its entry in a list of states; 3 and the
///            same, not verified against the bytes; or zeros
struct PartialMapFile {
  static let headerSize = 64
  private static let magic = Array("WFSMAP01".utf8)
  private static let recordSize = 33

  let descriptor: FileDescriptor
  let size: Int64
  private let blockCount: Int

  init(descriptor: FileDescriptor, size: Int64) {
    self.descriptor = descriptor
    self.size = size
    blockCount = BlockMap(size: size).blockCount
  }

  /// Returns the boot identifier from the header, or nil if the header is missing, of another blob or of
  /// another version.
  func bootIdentifier() throws(Errno) -> [UInt8]? {
    let header = try bytes(at: 0, count: Self.headerSize)
    guard header.count == Self.headerSize, header[..<24].elementsEqual(fixedPart()) else { return nil }
    return Array(header[24..<40])
  }

  /// Returns the recorded origin of the bytes.
  func origin() throws(Errno) -> [UInt8] { try bytes(at: 40, count: 16) }

  func write(origin: [UInt8]) throws(Errno) { try write(origin, at: 40) }

  /// Clears the map: no block is present.
  func reset(bootIdentifier: [UInt8]) throws(Errno) {
    guard ftruncate(descriptor.rawValue, 0) == 0 else { throw Errno(rawValue: errno) }
    let records = BlockMap(size: size).chunkCount * Self.recordSize
    let total = Self.headerSize + blockCount + records
    guard ftruncate(descriptor.rawValue, off_t(total)) == 0 else { throw Errno(rawValue: errno) }
    try writeHeader(bootIdentifier: bootIdentifier)
  }

  func writeHeader(bootIdentifier: [UInt8]) throws(Errno) {
    try write(fixedPart() + bootIdentifier.prefix(16), at: 0)
  }

  // Number of map bytes read at once.
  private static let piece = 64 << 10

  /// Returns the runs of blocks that the file marks as present, in order.
  ///
  /// Skips holes of the file, so that the cost depends on the fetched bytes and not on the size of the blob.
  func presentRuns(in blocks: Range<Int>) throws(Errno) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    var position = blocks.lowerBound
    while let first = try nextStored(from: position), first < blocks.upperBound {
      let count = min(Self.piece, blocks.upperBound - first)
      let states = try bytes(at: Self.headerSize + first, count: count)
      guard !states.isEmpty else { break }
      for (index, value) in states.enumerated() where value == 1 {
        let block = first + index
        if let last = runs.last, last.upperBound == block {
          runs[runs.count - 1] = last.lowerBound..<block + 1
        } else {
          runs.append(block..<block + 1)
        }
      }
      position = first + states.count
    }
    return runs
  }

  /// Returns the first block at or after `block` whose byte is not in a hole of the file, or nil.
  private func nextStored(from block: Int) throws(Errno) -> Int? {
    let start = off_t(Self.headerSize + block)
    let found = lseek(descriptor.rawValue, start, clinux_seek_data)
    if found >= 0 { return max(block, Int(found) - Self.headerSize) }
    switch errno {
    case ENXIO: return nil
    // The file system does not report holes: read everything.
    case EINVAL: return block
    default: throw Errno(rawValue: errno)
    }
  }

  func write(states: [UInt8], from block: Int) throws(Errno) {
    try write(states, at: Self.headerSize + block)
  }

  /// Returns the record of a chunk: its digest, or its entry in a list of states.
  func record(ofChunk chunk: Int) throws(Errno) -> ChunkRecord? {
    let record = try bytes(at: recordOffset(chunk), count: Self.recordSize)
    guard record.count == Self.recordSize else { return nil }
    switch record[0] {
    case 1: return ChunkRecord(kind: .digests, bytes: Array(record[1...]))
    case 2: return ChunkRecord(kind: .states, bytes: Array(record[1...]))
    case 3: return ChunkRecord(kind: .states, bytes: Array(record[1...]), isVerified: false)
    default: return nil
    }
  }

  func write(_ record: ChunkRecord?, ofChunk chunk: Int) throws(Errno) {
    let bytes = record.map { [$0.kind == .digests ? 1 : $0.isVerified ? 2 : 3] + $0.bytes }
    try write(bytes ?? [UInt8](repeating: 0, count: Self.recordSize), at: recordOffset(chunk))
  }

  private func recordOffset(_ chunk: Int) -> Int {
    Self.headerSize + blockCount + chunk * Self.recordSize
  }

  private func fixedPart() -> [UInt8] {
    func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
      withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }
    return Self.magic + littleEndian(UInt32(BlockMap.blockSize)) + littleEndian(UInt32(BlockMap.chunkSize))
      + littleEndian(size)
  }

  private func bytes(at offset: Int, count: Int) throws(Errno) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: count)
    var failure: Errno?
    let read = result.withUnsafeMutableBytes { buffer in
      do throws(Errno) {
        return try Disk.read(descriptor, into: buffer, at: Int64(offset))
      } catch {
        failure = error
        return 0
      }
    }
    if let failure { throw failure }
    result.removeSubrange(read...)
    return result
  }

  private func write(_ bytes: [UInt8], at offset: Int) throws(Errno) {
    var failure: Errno?
    bytes.withUnsafeBytes { buffer in
      do throws(Errno) { try Disk.write(descriptor, buffer, at: Int64(offset)) } catch { failure = error }
    }
    if let failure { throw failure }
  }
}
