/// What the name of a model file promises of its first bytes.
///
/// Pure. Only GGUF and safetensors are judged: other names are used for more than one format (`.nemo` is a tar).
package enum ModelMagic: Sendable, Hashable, CaseIterable {
  case gguf
  case safetensors

  /// The first bytes of every GGUF file.
  package static let ggufMagic = Array("GGUF".utf8)
  /// How many first bytes are enough to judge a file.
  package static let length = 9

  /// What a name promises; nil for a name that promises nothing.
  ///
  /// - Parameter name: of a file.
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

  /// Why bytes are not the first ones of such a file.
  ///
  /// - Parameters:
  ///   - bytes: the first ones, as many as there are; too few to judge speak for the file.
  ///   - size: of the file, bytes.
  /// - Returns: nil where nothing speaks against them.
  package func doubt(_ bytes: some Collection<UInt8>, size: Int64) -> String? {
    let first = Array(bytes.prefix(Self.length))
    switch self {
    case .gguf:
      let magic = Self.ggufMagic
      guard first.elementsEqual(magic.prefix(first.count)) || first.starts(with: magic), size >= 4 else {
        return "a GGUF file starts with 'GGUF', this one with \(Self.shown(first.prefix(4)))"
      }
    case .safetensors:
      guard size >= 9 else { return "a safetensors file has at least 9 bytes, this one has \(size)" }
      guard first.count >= 9 else { return nil }
      let length = first[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      guard length <= UInt64(size - 8), length >= 1 else {
        return "its header would have \(length) bytes of a file of \(size)"
      }
      // Spaces may precede the brace; no writer puts any there.
      guard first[8] == UInt8(ascii: "{") || first[8] == 0x20 else {
        return "a safetensors header starts with '{', this one with \(Self.shown(first[8...]))"
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
