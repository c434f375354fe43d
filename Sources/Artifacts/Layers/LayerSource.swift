import Archive
import ArtifactTree
import Content
import Hashing
import OCI

/// A layer as a source of bytes for `Archive`, which hashes what is read in order.
///
/// Used by one thread at a time.
final class LayerSource: ByteSource {
  private let layer: Descriptor
  private let bytes: any LayerBytes
  private var hash: HashStream
  /// The offset of the first byte that was not hashed.
  private var hashed: Int64 = 0
  /// Why the layer could not be read, or is wrong; nil if neither.
  private(set) var error: ContentError?

  var size: Int64 { layer.size }

  init(layer: Descriptor, bytes: any LayerBytes) {
    self.layer = layer
    self.bytes = bytes
    hash = HashStream(layer.digest.algorithm)
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ArchiveError) -> Int {
    do throws(ContentError) {
      let count = try bytes.read(layer, into: buffer, at: offset)
      if offset == hashed {
        hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        hashed += Int64(count)
      }
      return count
    } catch {
      self.error = error
      throw ArchiveError(reason: "\(error)")
    }
  }

  /// Reads what is left, and compares the digest of all bytes.
  ///
  /// - Throws: `ArchiveError`, with `error` set, if bytes cannot be read or are wrong.
  func finish() throws(ArchiveError) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { buffer.deallocate() }
    while hashed < layer.size, try read(into: buffer, at: hashed) > 0 {}
    guard hash.finish() != layer.digest else { return }
    let wrong = ContentError(.corrupt, "\(layer.digest)", "the layer's bytes do not match its digest")
    error = wrong
    throw ArchiveError(reason: "\(wrong)")
  }
}
