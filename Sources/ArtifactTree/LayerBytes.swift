package import Content
package import OCI

/// Reads bytes of layers for those who parse them.
///
/// Called where waiting is allowed.
package protocol LayerBytes: Sendable {
  /// Reads a range, waiting until it is there.
  ///
  /// - Parameters:
  ///   - layer: its descriptor.
  ///   - buffer: filled from its start.
  ///   - offset: in the layer.
  /// - Returns: how many bytes were read; less than asked for only at the end.
  /// - Throws: `ContentError`.
  func read(
    _ layer: Descriptor,
    into buffer: UnsafeMutableRawBufferPointer,
    at offset: Int64
  ) throws(ContentError) -> Int
}
