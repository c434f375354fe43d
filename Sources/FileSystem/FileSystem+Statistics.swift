import BlobCache
import Glibc
import LocalRegistry
import SystemPackage

/// What statfs(2) tells: the disk of the local registry.
package struct DiskStatistics: Sendable {
  package let blockSize: UInt64
  package let blocks: UInt64
  package let freeBlocks: UInt64
  package let availableBlocks: UInt64
  package let files: UInt64
  package let freeFiles: UInt64
}

extension FileSystem {
  /// The room on the local registry's disk.
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
