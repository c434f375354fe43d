package import Archive
package import Content
package import OCI

/// A layer as a source of bytes for `Archive`.
///
/// Used by one thread at a time.
package final class LayerSource: ByteSource {
  private let layer: Descriptor
  private let bytes: any LayerReader
  /// Why the layer could not be read; nil if it could.
  package private(set) var error: ContentError?

  package var size: Int64 { layer.size }

  /// Creates a source.
  ///
  /// - Parameters:
  ///   - layer: The descriptor of the layer.
  ///   - bytes: Reads the layer.
  package init(layer: Descriptor, bytes: any LayerReader) {
    self.layer = layer
    self.bytes = bytes
  }

  package func read(
    into buffer: UnsafeMutableRawBufferPointer,
    at offset: Int64
  ) throws(ArchiveError) -> Int {
    do throws(ContentError) {
      return try bytes.read(layer, into: buffer, at: offset)
    } catch {
      self.error = error
      throw ArchiveError(reason: "\(error)")
    }
  }
}
