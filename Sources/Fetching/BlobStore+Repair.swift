package import Disk
package import Content
import LocalRegistry
package import OCI

/// Mending what `verify` found damaged.
extension BlobStore {
  /// Fetches the damaged bytes of a blob again, and puts it back once its whole digest is right.
  ///
  /// What was right stays: where this fails, the blob is one that lacks the damaged bytes, and these are not served.
  ///
  /// - Parameters:
  ///   - file: that has the damaged blob, of the pool or of an archive.
  ///   - descriptor: of the blob.
  ///   - damage: bytes that are wrong.
  ///   - source: where it can be fetched from.
  /// - Returns: the mended blob, which is not evicted while it is held.
  /// - Throws: `ContentError`.
  package func repair(
    _ file: BlobFile,
    _ descriptor: Descriptor,
    damage: [Range<Int64>],
    from source: any Repository
  ) async throws(ContentError) -> LazyBlob {
    let local = local
    try await local.executor.run { () throws(ContentError) in
      try local.reopen(file, descriptor, damage: damage)
    }
    let blob = try await open(descriptor, layout: nil, source: source)
    try await blob.complete()
    return blob
  }
}
