import OCI

/// The header of a safetensors file: its length in eight bytes, little endian, then JSON with offsets from
/// the end of the header (github.com/huggingface/safetensors, "Format").
enum SafetensorsHeader {
  static func read(_ bytes: [UInt8], size: Int64) -> TensorLayout.Finding {
    let length = bytes[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(TensorLayout.longestHeader), case let end = Int64(length) + 8, end <= size else {
      return .none
    }
    guard bytes.count >= end else { return .more(least: end, likely: end) }
    var tensors: [TensorLayout.Tensor] = []
    do throws(DocumentError) {
      var scanner = JSONScanner(bytes[8..<Int(end)])
      try scanner.enterObject()
      while let name = try scanner.nextKey() {
        guard let offsets = try offsets(&scanner), 0 <= offsets.0, offsets.0 < offsets.1,
          offsets.1 <= size - end
        else { continue }
        tensors.append(TensorLayout.Tensor(name: name, range: end + offsets.0..<end + offsets.1))
      }
      // Spaces pad the header up to the first tensor.
      try scanner.finish()
    } catch {
      return .none
    }
    return .found(TensorLayout(headerEnd: end, tensors: tensors, size: size))
  }

  /// Returns the offsets of an entry, or nil if it is not a tensor, such as the metadata.
  private static func offsets(_ scanner: inout JSONScanner) throws(DocumentError) -> (Int64, Int64)? {
    guard scanner.isNext(UInt8(ascii: "{")) else {
      try scanner.skip()
      return nil
    }
    var found: [Int64] = []
    try scanner.enterObject()
    while let key = try scanner.nextKey() {
      guard key == "data_offsets", scanner.isNext(UInt8(ascii: "[")) else {
        try scanner.skip()
        continue
      }
      found = []
      try scanner.enterArray()
      while try scanner.nextElement() {
        let number = try scanner.integer()
        if found.count < 3 { found.append(number) }
      }
    }
    return found.count == 2 ? (found[0], found[1]) : nil
  }
}
