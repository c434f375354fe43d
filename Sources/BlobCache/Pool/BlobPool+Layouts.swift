import CLinux
package import Content
import Glibc
package import OCI
import Locking
package import SystemPackage
import Disk

/// Links from oci-dirs to blobs of the pool.
extension BlobPool {
  /// Adds a complete blob to a layout: as a reflink if the file system supports it, else a hard link, else a
  /// copy.
  ///
  /// - Parameters:
  ///   - digest: A blob that is complete in the pool.
  ///   - layout: The directory of an oci-dir.
  /// - Throws: `ContentError`.
  package func place(_ digest: Digest, into layout: FilePath) throws(ContentError) {
    let source = root.blob(digest)
    let target = layout.appending(digest.layoutPath)
    let folder = target.removingLastComponent()
    do throws(Errno) {
      let lock = try namesLock(digest)
      defer { withExtendedLifetime(lock) {} }
      guard let file = try BlobFile.open(source) else { return }
      // A name that cannot be read is made again below, which reports why.
      if let there = try? FileIdentity(at: target), there.size == file.size { return }
      try Disk.createFolder(folder)
      if file.size >= Self.smallestLink {
        if try reflink(file, to: target) { return }
        do throws(Errno) {
          try Disk.link(source, to: target)
          return
        } catch .fileExists {
          return
        } catch .tooManyLinks {
        } catch .improperLink {
        } catch .notPermitted {
        }
      }
      try copy(file, to: target)
    } catch {
      throw ContentError(.disk, "\(target)", error)
    }
  }

  private func reflink(_ file: BlobFile, to target: FilePath) throws(Errno) -> Bool {
    var output = try TemporaryFile(in: root.temporary, permissions: [.ownerRead, .groupRead, .otherRead])
    guard ioctl(output.descriptor.rawValue, clinux_ficlone, file.descriptor.rawValue) == 0 else {
      return false
    }
    try output.rename(to: target)
    return true
  }

  private func copy(_ file: BlobFile, to target: FilePath) throws(Errno) {
    var output = try TemporaryFile(in: root.temporary, permissions: [.ownerRead, .groupRead, .otherRead])
    try Disk.copy(file.descriptor, file.offset..<file.offset + file.size, to: output.descriptor)
    try output.rename(to: target)
  }
}
