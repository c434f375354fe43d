import BlobCache
import Glibc
import LocalRegistry
import SystemPackage

/// The values of statfs(2), for the disk of the local registry.
package struct DiskStatistics: Sendable {
  package let blockSize: UInt64
  package let blocks: UInt64
  package let freeBlocks: UInt64
  package let availableBlocks: UInt64
  package let files: UInt64
  package let freeFiles: UInt64
}

extension FileSystem {
  /// Returns the total and free space of the disk of the local registry.
  package func statistics() -> Result<DiskStatistics, FileSystemError> {
    var status = statvfs()
    guard local.root.path.withPlatformString({ statvfs($0, &status) }) == 0 else {
      return .failure(FileSystemError(.ioError))
    }
    return .success(
      DiskStatistics(
        blockSize: UInt64(status.f_frsize),
        blocks: UInt64(status.f_blocks),
        freeBlocks: UInt64(status.f_bfree),
        availableBlocks: UInt64(status.f_bavail),
        files: UInt64(status.f_files),
        freeFiles: UInt64(status.f_ffree)
      )
    )
  }
}
