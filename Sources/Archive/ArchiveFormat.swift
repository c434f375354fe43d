/// An archive or a compressed stream, told by its first bytes.
///
/// Pure.
package enum ArchiveFormat: String, Sendable, CaseIterable {
  case tar
  case gzip
  case zstd

  /// How many first bytes are enough: one block of a tar.
  package static let length = 512

  /// Tells what bytes are.
  ///
  /// - Parameter first: the first `length` bytes, or all there are.
  /// - Returns: nil where they are none of the known formats.
  package init?(first: [UInt8]) {
    if first.starts(with: [0x1f, 0x8b]) {
      self = .gzip
    } else if first.starts(with: [0x28, 0xb5, 0x2f, 0xfd]) || Self.isSkippableFrame(first) {
      self = .zstd
    } else if Self.isTarHeader(first) {
      self = .tar
    } else {
      return nil
    }
  }

  /// A zstd stream may start with a frame that decoders pass over (RFC 8878, 3.1.2).
  private static func isSkippableFrame(_ first: [UInt8]) -> Bool {
    first.count >= 4 && first[0] & 0xf0 == 0x50 && first[1..<4].elementsEqual([0x2a, 0x4d, 0x18])
  }

  /// Whether a block's checksum field is the sum of its bytes, that field counted as spaces (tar(5)); old writers added
  /// signed bytes.
  private static func isTarHeader(_ block: [UInt8]) -> Bool {
    guard block.count >= length, block[0] != 0 else { return false }
    let field = 148..<156
    let text = block[field].drop { $0 == 0x20 }.prefix { (0x30...0x37).contains($0) }
    guard !text.isEmpty else { return false }
    let stored = text.reduce(0) { $0 * 8 + Int($1 - 0x30) }
    let rest = block[..<field.lowerBound] + block[field.upperBound..<length]
    let spaces = field.count * 0x20
    let unsigned = rest.reduce(spaces) { $0 + Int($1) }
    let signed = rest.reduce(spaces) { $0 + Int(Int8(bitPattern: $1)) }
    return stored == unsigned || stored == signed
  }
}
