import Archive
import ArtifactTree
import Content
import OCI

/// A layer as a source of bytes for `Archive`.
///
/// Used by one thread at a time.
final class LayerSource: ByteSource {
  private let layer: Descriptor
  private let bytes: any LayerBytes
  /// Why the layer could not be read; nil if it could.
  private(set) var error: ContentError?

  var size: Int64 { layer.size }

  init(layer: Descriptor, bytes: any LayerBytes) {
    self.layer = layer
    self.bytes = bytes
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ArchiveError) -> Int {
    do throws(ContentError) {
      return try bytes.read(layer, into: buffer, at: offset)
    } catch {
      self.error = error
      throw ArchiveError(reason: "\(error)")
    }
  }
}
