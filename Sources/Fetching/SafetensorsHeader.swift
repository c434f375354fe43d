import OCI

/// The header of a safetensors file: eight bytes of length, little endian, then JSON whose offsets count from its end
/// (github.com/huggingface/safetensors, "Format").
enum SafetensorsHeader {
  private struct Entry: Decodable {
    let data_offsets: [Int64]?
  }

  static func read(_ bytes: [UInt8], size: Int64) -> TensorLayout.Finding {
    let length = bytes[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(TensorLayout.longestHeader), case let end = Int64(length) + 8, end <= size else {
      return .none
    }
    guard bytes.count >= end else { return .more(least: end, likely: end) }
    guard let entries = try? JSONDocument.decode([String: Entry].self, from: Array(bytes[8..<Int(end)]))
    else {
      return .none
    }
    let tensors = entries.compactMap { name, entry -> TensorLayout.Tensor? in
      guard let offsets = entry.data_offsets, offsets.count == 2, 0 <= offsets[0], offsets[0] < offsets[1],
        offsets[1] <= size - end
      else { return nil }
      return TensorLayout.Tensor(name: name, range: end + offsets[0]..<end + offsets[1])
    }
    return .found(TensorLayout(headerEnd: end, tensors: tensors, size: size))
  }
}
