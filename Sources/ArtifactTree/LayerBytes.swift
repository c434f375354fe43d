package import Archive
package import Content
package import OCI

/// Reads bytes of layers.
///
/// Called on threads that may block.
package protocol LayerReader: Sendable {
  /// Reads a range, blocking until it is present.
  ///
  /// - Parameters:
  ///   - layer: The descriptor of the layer.
  ///   - buffer: Filled from its start.
  ///   - offset: The offset in the layer.
  /// - Returns: The number of bytes read; fewer than requested only at the end of the layer.
  /// - Throws: `ContentError`.
  func read(
    _ layer: Descriptor,
    into buffer: UnsafeMutableRawBufferPointer,
    at offset: Int64
  ) throws(ContentError) -> Int
}

/// Reads bytes of layers for parsers, also of decompressed ones.
package protocol LayerBytes: LayerReader {
  /// Returns the compression of a layer that was decompressed before; nil for others.
  ///
  /// - Parameter layer: The descriptor of the layer.
  func compression(of layer: Descriptor) async -> Compression?

  /// Decompresses a layer completely, unless that was done before.
  ///
  /// - Parameters:
  ///   - layer: The descriptor of the compressed layer.
  ///   - compression: Its format.
  /// - Returns: The descriptor of the decompressed content, which can be read like a layer.
  /// - Throws: `ContentError`; with an `ArchiveError` as its cause if the layer is damaged or becomes too large.
  func unpacked(
    _ layer: Descriptor,
    _ compression: Compression
  ) async throws(ContentError) -> Descriptor
}
