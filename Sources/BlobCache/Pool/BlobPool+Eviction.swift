import CLinux
import Content
import Glibc
package import OCI
import Locking
package import SystemPackage
import Disk

/// Removal of blobs.
extension BlobPool {
  /// Removes a complete blob, first from layouts, unless it is open.
  ///
  /// - Parameters:
  ///   - digest: The digest of the blob.
  ///   - layouts: oci-dirs of this root that may have it.
  ///   - evenIfOpen: Removes the blob even if it is open; processes keep their descriptors.
  ///   - isCertain: Called while the lock on the blob's names is held; returns false to keep the blob.
  /// - Returns: The number of bytes freed.
  /// - Throws: `Errno`.
  package func evict(
    _ digest: Digest,
    from layouts: [FilePath],
    evenIfOpen: Bool = false,
    isCertain: () -> Bool = { true }
  ) throws(Errno) -> Int64 {
    let lock = try namesLock(digest)
    defer { withExtendedLifetime(lock) {} }
    guard isCertain(), evenIfOpen || !isOpen(digest, isPartial: false) else { return 0 }
    for layout in layouts { try Disk.remove(layout.appending(digest.layoutPath)) }
    let size = try ledger.remove(root.blob(digest))
    VerificationRecords(root: root).removePool(digest)
    return size
  }

  /// Removes a partial blob unless it is open.
  ///
  /// - Parameters:
  ///   - digest: The digest of the blob.
  ///   - isCertain: Called while the lock on the blob's names is held; returns false to keep the blob.
  /// - Returns: The number of bytes freed.
  /// - Throws: `Errno`.
  package func evictPartial(_ digest: Digest, isCertain: () -> Bool = { true }) throws(Errno) -> Int64 {
    let lock = try namesLock(digest)
    defer { withExtendedLifetime(lock) {} }
    guard isCertain(), !isOpen(digest, isPartial: true) else { return 0 }
    let path = root.partial(digest)
    let size = try ledger.remove(path)
    try PartialNames.removeMap(of: path)
    return size
  }

  /// Removes the names of a partial blob whose blob is complete; both names may belong to the same file.
  package func removePartialNames(_ digest: Digest) throws(Errno) {
    let lock = try namesLock(digest)
    defer { withExtendedLifetime(lock) {} }
    guard Disk.exists(root.blob(digest)), !isOpen(digest, isPartial: true) else { return }
    let path = root.partial(digest)
    // A name that was removed meanwhile frees nothing.
    let isSame = (try? FileIdentity(at: path)).map { own in
      (try? FileIdentity(at: root.blob(digest)))?.isSameFile(as: own) ?? false
    }
    if isSame == false { _ = try ledger.remove(path) } else { try Disk.remove(path) }
    try PartialNames.removeMap(of: path)
  }
}
