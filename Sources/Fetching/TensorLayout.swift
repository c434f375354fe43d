/// Where the tensors of a model file lie, as its header says.
package struct TensorLayout: Sendable, Equatable {
  /// A tensor.
  package struct Tensor: Sendable, Equatable {
    package let name: String
    /// Bytes of the file.
    package let range: Range<Int64>
  }

  /// What can be said of a file by its first bytes.
  package enum Finding: Sendable, Equatable {
    /// It is not a file of this kind, or a damaged one.
    case none
    /// More of it is needed: at least up to `least`, and probably up to `likely`.
    case more(least: Int64, likely: Int64)
    case found(TensorLayout)
  }

  /// Where the header ends, and what fills up to the first tensor.
  package let headerEnd: Int64
  /// By offset.
  package let tensors: [Tensor]

  /// A layout.
  ///
  /// - Parameters:
  ///   - headerEnd: bytes.
  ///   - tensors: in any order; those that lie nowhere in the file are left out.
  ///   - size: of the file.
  init(headerEnd: Int64, tensors: [Tensor], size: Int64) {
    self.headerEnd = headerEnd
    self.tensors = tensors.filter { $0.range.lowerBound >= headerEnd && $0.range.upperBound <= size }.sorted {
      $0.range.lowerBound < $1.range.lowerBound
    }
  }

  /// The tensor that a byte lies in.
  ///
  /// - Parameter offset: in the file.
  /// - Returns: nil between tensors and in the header.
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

  /// The longest header that is read.
  package static let longestHeader: Int64 = 32 << 20

  /// Looks at the beginning of a file.
  ///
  /// - Parameters:
  ///   - bytes: the first ones.
  ///   - size: of the file.
  /// - Returns: by the formats that are known, GGUF and safetensors.
  package static func read(_ bytes: [UInt8], size: Int64) -> Finding {
    guard bytes.count >= 9 else { return size >= 9 ? .more(least: 9, likely: 9) : .none }
    if bytes.starts(with: GGUFHeader.magic) { return GGUFHeader.read(bytes, size: size) }
    if bytes[8] == UInt8(ascii: "{") { return SafetensorsHeader.read(bytes, size: size) }
    return .none
  }
}
