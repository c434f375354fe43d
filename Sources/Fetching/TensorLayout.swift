/// The positions of the tensors of a model file, from its header.
package struct TensorLayout: Sendable, Equatable {
  /// A tensor of a model file.
  package struct Tensor: Sendable, Equatable {
    package let name: String
    /// The byte range in the file.
    package let range: Range<Int64>
  }

  /// The result of parsing the first bytes of a file.
  package enum Finding: Sendable, Equatable {
    /// The file is not of a known format, or is damaged.
    case none
    /// More bytes are needed: at least up to `least`, and probably up to `likely`.
    case more(least: Int64, likely: Int64)
    case found(TensorLayout)
  }

  /// The end of the header, including the padding before the first tensor.
  package let headerEnd: Int64
  /// The tensors in order of offset.
  package let tensors: [Tensor]

  /// Creates a layout.
  ///
  /// - Parameters:
  ///   - headerEnd: The end of the header in bytes.
  ///   - tensors: The tensors in any order; those outside of the file are omitted.
  ///   - size: The size of the file in bytes.
  init(headerEnd: Int64, tensors: [Tensor], size: Int64) {
    self.headerEnd = headerEnd
    self.tensors = tensors.filter { $0.range.lowerBound >= headerEnd && $0.range.upperBound <= size }.sorted {
      $0.range.lowerBound < $1.range.lowerBound
    }
  }

  /// Returns the tensor at an offset, or nil between tensors and in the header.
  ///
  /// - Parameter offset: The offset in the file.
  package func tensor(at offset: Int64) -> Tensor? {
    var low = 0
    var high = tensors.count
    while low < high {
      let middle = (low + high) / 2
      if tensors[middle].range.lowerBound <= offset { low = middle + 1 } else { high = middle }
    }
    guard low > 0, tensors[low - 1].range.contains(offset) else { return nil }
    return tensors[low - 1]
  }

  /// The maximum length of a header in bytes.
  package static let longestHeader: Int64 = 32 << 20

  /// Parses the beginning of a GGUF or safetensors file.
  ///
  /// - Parameters:
  ///   - bytes: The first bytes of the file.
  ///   - size: The size of the file in bytes.
  package static func read(_ bytes: [UInt8], size: Int64) -> Finding {
    guard bytes.count >= 9 else { return size >= 9 ? .more(least: 9, likely: 9) : .none }
    if bytes.starts(with: GGUFHeader.magic) { return GGUFHeader.read(bytes, size: size) }
    if bytes[8] == UInt8(ascii: "{") { return SafetensorsHeader.read(bytes, size: size) }
    return .none
  }
}
