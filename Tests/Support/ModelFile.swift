/// Creates small model files.
package enum ModelFile {
  static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  private static func string(_ text: String) -> [UInt8] {
    littleEndian(UInt64(text.utf8.count)) + Array(text.utf8)
  }

  /// Returns a GGUF file of version 3 with a vocabulary.
  package static func gguf(
    vocabulary: Int = 10,
    tensors: [(name: String, size: Int)],
    alignment: UInt32 = 32
  ) -> [UInt8] {
    var bytes =
      Array("GGUF".utf8) + littleEndian(UInt32(3)) + littleEndian(UInt64(tensors.count))
      + littleEndian(UInt64(4))
    bytes += string("general.alignment") + littleEndian(UInt32(4)) + littleEndian(alignment)
    bytes += string("tokenizer.ggml.tokens") + littleEndian(UInt32(9)) + littleEndian(UInt32(8))
    bytes += littleEndian(UInt64(vocabulary))
    for token in 0..<vocabulary { bytes += string("token\(token)") }
    bytes += string("tokenizer.ggml.scores") + littleEndian(UInt32(9)) + littleEndian(UInt32(6))
    bytes += littleEndian(UInt64(vocabulary)) + [UInt8](repeating: 0, count: 4 * vocabulary)
    bytes += string("general.name") + littleEndian(UInt32(8)) + string("small")
    var offset = 0
    for tensor in tensors {
      bytes += string(tensor.name) + littleEndian(UInt32(1)) + littleEndian(UInt64(tensor.size / 4))
      bytes += littleEndian(UInt32(0)) + littleEndian(UInt64(offset))
      offset += (tensor.size + Int(alignment) - 1) / Int(alignment) * Int(alignment)
    }
    while bytes.count % Int(alignment) != 0 { bytes.append(0) }
    return bytes + SeededGenerator.bytes(offset, seed: 7)
  }

  /// Returns a GGUF file of one tensor.
  ///
  /// - Parameters:
  ///   - size: The approximate size of the file.
  ///   - seed: The seed of its content.
  package static func gguf(_ size: Int, seed: UInt64) -> [UInt8] {
    var bytes = gguf(tensors: [("blk.0.weight", size / 32 * 32)])
    let noise = SeededGenerator.bytes(size / 2, seed: seed)
    bytes.replaceSubrange(bytes.count - noise.count..<bytes.count, with: noise)
    return bytes
  }

  /// Returns a safetensors file.
  package static func safetensors(_ tensors: [(name: String, size: Int)]) -> [UInt8] {
    var offset = 0
    var entries = [#""__metadata__":{"format":"pt"}"#]
    for tensor in tensors {
      entries.append(
        #""\#(tensor.name)":{"dtype":"U8","shape":[\#(tensor.size)],"data_offsets":[\#(offset),\#(offset + tensor.size)]}"#
      )
      offset += tensor.size
    }
    let header = Array("{\(entries.joined(separator: ","))}".utf8)
    return littleEndian(UInt64(header.count)) + header + SeededGenerator.bytes(offset, seed: 9)
  }
}
