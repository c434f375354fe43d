package import Disk
package import Content
import LocalRegistry
package import OCI

/// Repairs blobs that `verify` found damaged.
extension BlobStore {
  /// Fetches the damaged bytes of a blob again, and commits it after its complete digest matches.
  ///
  /// Undamaged bytes are kept: if the repair fails, the blob is a partial blob that lacks the damaged bytes,
  /// and these are not served.
  ///
  /// - Parameters:
  ///   - file: The damaged file, of the pool or of an archive.
  ///   - descriptor: The descriptor of the blob.
  ///   - damage: The byte ranges that are wrong.
  ///   - source: The repository to fetch from.
  /// - Returns: The repaired blob, which is not evicted while it is held.
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
