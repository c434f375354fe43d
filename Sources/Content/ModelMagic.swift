/// The first bytes that the name of a model file promises.
///
/// A pure value. Only GGUF and safetensors are checked: other extensions are used for several formats
/// (`.nemo` is a tar).
package enum ModelMagic: Sendable, Hashable, CaseIterable {
  case gguf
  case safetensors

  /// The first bytes of every GGUF file.
  package static let ggufMagic = Array("GGUF".utf8)
  /// Number of first bytes needed to check a file.
  package static let length = 9

  /// Returns the format that a file name promises, or nil.
  package init?(name: some StringProtocol) {
    let lower = name.lowercased()
    if lower.hasSuffix(".gguf") {
      self = .gguf
    } else if lower.hasSuffix(".safetensors") {
      self = .safetensors
    } else {
      return nil
    }
  }

  /// Returns why bytes do not match the promised format, or nil if they may.
  ///
  /// - Parameters:
  ///   - bytes: The first bytes of the file; too few bytes to decide count as matching.
  ///   - size: The size of the file in bytes.
  package func doubt(_ bytes: some Collection<UInt8>, size: Int64) -> String? {
    let first = Array(bytes.prefix(Self.length))
    switch self {
    case .gguf:
      let magic = Self.ggufMagic
      guard first.elementsEqual(magic.prefix(first.count)) || first.starts(with: magic), size >= 4 else {
        return "a GGUF file starts with 'GGUF', this file starts with \(Self.shown(first.prefix(4)))"
      }
    case .safetensors:
      guard size >= 9 else { return "a safetensors file has at least 9 bytes, this file has \(size)" }
      guard first.count >= 9 else { return nil }
      let length = first[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      guard length <= UInt64(size - 8), length >= 1 else {
        return "the header length is \(length) bytes, but the file has \(size) bytes"
      }
      // The format allows spaces before the brace, although writers do not emit them.
      guard first[8] == UInt8(ascii: "{") || first[8] == 0x20 else {
        return "a safetensors header starts with '{', this one starts with \(Self.shown(first[8...]))"
      }
    }
    return nil
  }

  private static func shown(_ bytes: some Collection<UInt8>) -> String {
    let isText = bytes.allSatisfy { (0x21..<0x7f).contains($0) }
    if isText { return "'\(String(decoding: bytes, as: UTF8.self))'" }
    return "the bytes " + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
  }
}
