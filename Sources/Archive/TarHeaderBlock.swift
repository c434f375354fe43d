/// Fields of a member's header block as they stand in the tar (tar(5)), for what libarchive reads in its own way.
struct TarHeaderBlock {
  static let length = 512

  private let bytes: [UInt8]

  /// Takes a block.
  ///
  /// - Parameter bytes: nil where they are not 512.
  init?(_ bytes: [UInt8]) {
    guard bytes.count == Self.length else { return nil }
    self.bytes = bytes
  }

  /// Permission bits; nil where the field is no octal number.
  var permissions: UInt32? { octal(100..<108).map { UInt32(truncatingIfNeeded: $0 & 0o7777) } }

  /// Bytes of data; nil where the field is no octal number.
  var size: Int64? { octal(124..<136) }

  /// Whether GNU's field for the size of a sparse file, expanded, is used.
  var hasExpandedSize: Bool {
    bytes[257..<265].elementsEqual(Array("ustar  \0".utf8)) && bytes[483] != 0
  }

  /// Whether GNU's type for sparse files is set.
  var isSparse: Bool { bytes[156] == UInt8(ascii: "S") }

  private func octal(_ field: Range<Int>) -> Int64? {
    let text = bytes[field].drop { $0 == 0x20 || $0 == 0 }.prefix { (0x30...0x37).contains($0) }
    guard !text.isEmpty else { return nil }
    return text.reduce(0) { $0 << 3 | Int64($1 - 0x30) }
  }
}
