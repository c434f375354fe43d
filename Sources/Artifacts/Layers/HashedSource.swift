import Archive
import Content
import Hashing
import OCI

/// A source whose bytes are hashed as they are read in order.
///
/// Used by one thread at a time.
final class HashedSource: ByteSource {
  private let source: any ByteSource
  private let digest: Digest
  private var hash: HashStream
  /// The offset of the first byte that was not hashed.
  private var hashed: Int64 = 0

  var size: Int64 { source.size }

  init(_ source: any ByteSource, _ digest: Digest) {
    self.source = source
    self.digest = digest
    hash = HashStream(digest.algorithm)
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ArchiveError) -> Int {
    let count = try source.read(into: buffer, at: offset)
    if offset == hashed {
      hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      hashed += Int64(count)
    }
    return count
  }

  /// Reads what is left, and returns why the bytes are wrong, or nil.
  ///
  /// - Throws: `ArchiveError` if bytes cannot be read.
  func finish() throws(ArchiveError) -> ContentError? {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
    defer { buffer.deallocate() }
    while hashed < size, try read(into: buffer, at: hashed) > 0 {}
    return hash.finish() == digest
      ? nil : ContentError(.corrupt, "\(digest)", "the layer's bytes do not match its digest")
  }
}
