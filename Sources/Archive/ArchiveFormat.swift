/// The format of an archive or a compressed stream, recognized by its first bytes.
///
/// A pure value.
package enum ArchiveFormat: String, Sendable, CaseIterable {
  case tar
  case gzip
  case zstd

  /// Number of first bytes needed to recognize the format: one block of a tar.
  package static let length = 512

  /// Recognizes a format, or returns nil.
  ///
  /// - Parameter first: The first `length` bytes, or all bytes of a shorter file.
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

  /// A zstd stream may start with a frame that decoders skip (RFC 8878, 3.1.2).
  private static func isSkippableFrame(_ first: [UInt8]) -> Bool {
    first.count >= 4 && first[0] & 0xf0 == 0x50 && first[1..<4].elementsEqual([0x2a, 0x4d, 0x18])
  }

  /// Whether a block's checksum field equals the sum of its bytes, with the field itself counted as spaces
  /// (tar(5)); some old writers added signed bytes.
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
