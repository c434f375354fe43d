/// A format of compressed streams.
package enum Compression: String, Sendable, Codable {
  /// RFC 1952; several members follow each other as one stream.
  case gzip
  /// RFC 8878; several frames follow each other as one stream.
  case zstd
}

extension ArchiveFormat {
  /// The compression, or nil for a tar.
  package var compression: Compression? {
    switch self {
    case .tar: nil
    case .gzip: .gzip
    case .zstd: .zstd
    }
  }
}

/// A position in a compressed stream from which it can be decompressed without the bytes before it.
package struct Checkpoint: Sendable, Equatable {
  /// The offset of the next compressed byte.
  package let input: Int64
  /// The offset of the next decompressed byte.
  package let output: Int64
  /// The number of bits of the byte before `input` that are not decompressed yet.
  package let bits: UInt8
  /// The byte before `input`.
  package let byte: UInt8
  /// The decompressed bytes before `output` that later bytes may refer to: at most 32 KiB, none at the start of
  /// a frame or a member.
  package let window: [UInt8]

  /// Creates a checkpoint.
  ///
  /// - Parameters:
  ///   - input: The offset of the next compressed byte.
  ///   - output: The offset of the next decompressed byte.
  ///   - bits: 0 to 7 bits of the byte before `input`.
  ///   - byte: The byte before `input`.
  ///   - window: The preceding decompressed bytes.
  package init(input: Int64, output: Int64, bits: UInt8 = 0, byte: UInt8 = 0, window: [UInt8] = []) {
    self.input = input
    self.output = output
    self.bits = bits
    self.byte = byte
    self.window = window
  }
}
