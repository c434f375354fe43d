import Content

/// The limits on decompressed layers.
package struct UnpackLimits: Sendable, Equatable {
  /// The maximum size of a decompressed layer in bytes; nil for the space on the disk.
  package var size: Int64?

  /// Creates limits.
  ///
  /// - Parameter size: The maximum size of a decompressed layer in bytes.
  package init(size: Int64? = nil) { self.size = size }

  // No real data is compressed that much: model weights hardly at all, text about 10:1.
  private static let ratio: Int64 = 200
  private static let ratioFrom: Int64 = 1 << 30

  /// Returns why a layer must not be decompressed further, or nil.
  ///
  /// - Parameters:
  ///   - output: The number of decompressed bytes.
  ///   - input: The number of bytes that they were decompressed from.
  package func excess(output: Int64, input: Int64) -> String? {
    if let size, output > size {
      return "the layer decompresses to more than \(ByteSize.text(size)) (--max-unpacked)"
    }
    if output > Self.ratioFrom, output / Self.ratio > input {
      return "the layer decompresses to more than \(Self.ratio) times its size"
    }
    return nil
  }
}
