/// A tar in which one PAX header is shorter than in the source.
///
/// libarchive refuses a header of more than 1 MiB, such as that of a large extended attribute, and then the
/// complete tar. Only the records that are needed to read a member are kept.
final class TrimmedHeader: ByteSource {
  private let base: any ByteSource
  private let start: Int64
  private let removed: Int64
  private let replacement: [UInt8]

  // Bytes: the limit of libarchive, and the maximum size of a header that is read into memory.
  private static let refused: Int64 = 1 << 20
  private static let longest: Int64 = 16 << 20
  // Maximum number of headers before one member: PAX headers, and GNU's long names and targets.
  private static let mostHeaders = 8
  private static let kept: Set<String> = ["path", "linkpath", "size", "mtime", "hdrcharset"]
  private static let longestValue = 64 << 10

  var size: Int64 { base.size - removed + Int64(replacement.count) }

  /// Finds a header that is too long among those before one member.
  ///
  /// - Parameters:
  ///   - base: The tar.
  ///   - start: The offset of the first header of the member.
  /// - Throws: `ArchiveError` if the tar cannot be read.
  /// - Returns: nil if no header is too long, or it is too long to be read into memory.
  init?(_ base: any ByteSource, before start: Int64) throws(ArchiveError) {
    var position = start
    for _ in 0..<Self.mostHeaders {
      let block = try Self.read(base, position, TarHeaderBlock.length)
      guard let header = TarHeaderBlock(block), let size = header.size, size >= 0, size <= Self.longest else {
        return nil
      }
      let padded = (size + 511) / 512 * 512
      switch header.type {
      case UInt8(ascii: "x"), UInt8(ascii: "g"):
        if size > Self.refused {
          let body = try Self.read(base, position + Int64(TarHeaderBlock.length), Int(size))
          guard body.count == Int(size) else { return nil }
          self.base = base
          self.start = position
          removed = Int64(TarHeaderBlock.length) + padded
          replacement = header.replacing(content: Self.trimmed(body))
          return
        }
      case UInt8(ascii: "L"), UInt8(ascii: "K"): break
      default: return nil
      }
      position += Int64(TarHeaderBlock.length) + padded
    }
    return nil
  }

  /// Converts an offset in this tar to an offset in the base.
  ///
  /// - Parameter offset: An offset before or after the header.
  func offsetInBase(_ offset: Int64) -> Int64 {
    offset < start + Int64(replacement.count) ? offset : offset - Int64(replacement.count) + removed
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ArchiveError) -> Int {
    let end = start + Int64(replacement.count)
    if offset < start {
      let count = Int(min(Int64(buffer.count), start - offset))
      return try base.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]), at: offset)
    }
    guard offset < end else { return try base.read(into: buffer, at: offsetInBase(offset)) }
    let part = replacement[Int(offset - start)...].prefix(buffer.count)
    buffer.copyBytes(from: part)
    return part.count
  }

  private static func read(
    _ source: any ByteSource,
    _ offset: Int64,
    _ count: Int
  ) throws(ArchiveError) -> [UInt8] {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
    defer { buffer.deallocate() }
    var filled = 0
    while filled < count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
      let got = try source.read(into: rest, at: offset + Int64(filled))
      guard got > 0 else { break }
      filled += got
    }
    return Array(buffer[..<filled])
  }

  /// Returns the records of a header that are kept: `LENGTH KEY=VALUE\n` each (pax(1)).
  private static func trimmed(_ body: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var position = 0
    while position < body.count {
      let digits = body[position...].prefix { (0x30...0x39).contains($0) }.prefix(9)
      guard let length = Int(String(decoding: digits, as: UTF8.self)), length > digits.count + 2,
        position + length <= body.count
      else { break }
      let record = body[position..<position + length]
      let text = record.dropFirst(digits.count + 1)
      let key = String(decoding: text.prefix(256).prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)
      if kept.contains(key) || key.hasPrefix("GNU.sparse."), length <= longestValue { result += record }
      position += length
    }
    return result
  }
}
