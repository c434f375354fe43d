/// Compressed streams made without a compressor: blocks of stored bytes, and blocks that repeat one byte.
package enum StoredStream {
  /// Returns bytes as a gzip of stored blocks (RFC 1952, RFC 1951 3.2.4).
  package static func gzip(_ bytes: [UInt8]) -> [UInt8] {
    var stream: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]
    var rest = bytes[...]
    repeat {
      let part = rest.prefix(65_535)
      rest = rest.dropFirst(part.count)
      let count = UInt16(part.count)
      stream += [rest.isEmpty ? 1 : 0, UInt8(count & 0xff), UInt8(count >> 8)]
      stream += [UInt8(~count & 0xff), UInt8(~count >> 8)] + part
    } while !rest.isEmpty
    return stream + ModelFile.littleEndian(checksum(bytes)) + ModelFile.littleEndian(UInt32(bytes.count))
  }

  /// Returns bytes as a zstd frame of raw blocks (RFC 8878, 3.1.1).
  package static func zstd(_ bytes: [UInt8]) -> [UInt8] {
    var blocks: [[UInt8]] = []
    var rest = bytes[...]
    repeat {
      let part = rest.prefix(100_000)
      rest = rest.dropFirst(part.count)
      blocks.append(header(part.count, type: 0, isLast: rest.isEmpty) + part)
    } while !rest.isEmpty
    return frame + blocks.flatMap { $0 }
  }

  /// Returns a zstd frame that decompresses to many equal bytes: 128 KiB for each four bytes.
  package static func bomb(blocks: Int) -> [UInt8] {
    let size = 128 << 10
    return frame
      + (0..<blocks).flatMap { header(size, type: 1, isLast: $0 == blocks - 1) + [UInt8(ascii: "x")] }
  }

  // The magic number, and a header with a window of 128 KiB and no size.
  private static let frame: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x38]

  private static func header(_ size: Int, type: Int, isLast: Bool) -> [UInt8] {
    let value = (isLast ? 1 : 0) | type << 1 | size << 3
    return [UInt8(value & 0xff), UInt8(value >> 8 & 0xff), UInt8(value >> 16 & 0xff)]
  }

  /// The CRC-32 of RFC 1952, 8.
  private static func checksum(_ bytes: [UInt8]) -> UInt32 {
    var table: [UInt32] = []
    for number in 0..<256 {
      var value = UInt32(number)
      for _ in 0..<8 {
        let half = value >> 1
        value = value & 1 == 1 ? 0xedb8_8320 ^ half : half
      }
      table.append(value)
    }
    var sum = ~UInt32(0)
    for byte in bytes {
      let index = Int(UInt8(truncatingIfNeeded: sum) ^ byte)
      sum = table[index] ^ (sum >> 8)
    }
    return ~sum
  }
}
