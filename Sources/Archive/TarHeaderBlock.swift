/// The raw fields of a member's header block (tar(5)), for fields that libarchive interprets differently.
struct TarHeaderBlock {
  static let length = 512

  private let bytes: [UInt8]

  /// Creates a header block, or returns nil unless there are 512 bytes.
  init?(_ bytes: [UInt8]) {
    guard bytes.count == Self.length else { return nil }
    self.bytes = bytes
  }

  /// Permission bits; nil if the field is not an octal number.
  var permissions: UInt32? { octal(100..<108).map { UInt32(truncatingIfNeeded: $0 & 0o7777) } }

  /// Size of the data in bytes; nil if the field is not an octal number.
  var size: Int64? { octal(124..<136) }

  /// The type of the member, or of an extended header for the next member.
  var type: UInt8 { bytes[156] }

  /// Returns the block for other content, followed by the content padded to complete blocks.
  ///
  /// - Parameter content: Less than 8 GiB.
  func replacing(content: [UInt8]) -> [UInt8] {
    var block = bytes
    let size = String(content.count, radix: 8)
    let digits = String(repeating: "0", count: max(0, 11 - size.utf8.count)) + size
    block.replaceSubrange(124..<136, with: Array(digits.utf8) + [0])
    block.replaceSubrange(148..<156, with: [UInt8](repeating: 0x20, count: 8))
    let sum = String(block.reduce(0) { $0 + Int($1) }, radix: 8)
    let checksum = String(repeating: "0", count: max(0, 6 - sum.utf8.count)) + sum
    block.replaceSubrange(148..<156, with: Array(checksum.utf8) + [0, 0x20])
    let padding = (Self.length - content.count % Self.length) % Self.length
    return block + content + [UInt8](repeating: 0, count: padding)
  }

  /// Whether GNU's field for the expanded size of a sparse file is used.
  var hasExpandedSize: Bool {
    bytes[257..<265].elementsEqual(Array("ustar  \0".utf8)) && bytes[483] != 0
  }

  /// Whether the type is GNU's type for sparse files.
  var isSparse: Bool { bytes[156] == UInt8(ascii: "S") }

  private func octal(_ field: Range<Int>) -> Int64? {
    let text = bytes[field].drop { $0 == 0x20 || $0 == 0 }.prefix { (0x30...0x37).contains($0) }
    guard !text.isEmpty else { return nil }
    return text.reduce(0) { $0 << 3 | Int64($1 - 0x30) }
  }
}
