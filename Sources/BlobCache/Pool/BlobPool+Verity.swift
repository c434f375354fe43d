import Disk
import Glibc
package import OCI
import Locking
import SystemPackage

extension BlobPool {
  // <linux/fsverity.h>: FS_IOC_ENABLE_VERITY is _IOW('f', 133, struct fsverity_enable_arg); the struct has
  // 128 bytes.
  private static let enableVerity: UInt = 0x4080_6685
  // <linux/fs.h>: FS_IOC_GETFLAGS is _IOR('f', 1, long); FS_VERITY_FL.
  private static let getFlags: UInt = 0x8008_6601
  private static let verityFlag = 0x0010_0000

  /// <linux/fsverity.h>, struct fsverity_enable_arg.
  private struct EnableVerity {
    var version: UInt32 = 1
    var hashAlgorithm: UInt32 = 1  // FS_VERITY_HASH_ALG_SHA256
    var blockSize: UInt32 = 4096
    var saltSize: UInt32 = 0
    var saltPointer: UInt64 = 0
    var signatureSize: UInt32 = 0
    var reserved1: UInt32 = 0
    var signaturePointer: UInt64 = 0
    var reserved2: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) =
      (
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
      )
  }

  /// Enables fs-verity on the file of a committed blob, if the file system supports it: the file becomes
  /// immutable, and the kernel verifies each page that it reads.
  ///
  /// Blocks the calling thread: the kernel reads the complete file. If a process still has the file open for
  /// writing, the next use of the blob tries again.
  ///
  /// - Parameter digest: The digest of a verified blob.
  package func protect(_ digest: Digest) {
    guard !lacksVerity.load(ordering: .relaxed) else { return }
    guard let found = try? BlobFile.open(root.blob(digest)), let file = found as BlobFile?,
      file.size >= Self.smallestLink,
      VerificationRecords(root: root).poolRecord(file.identity, digest) == .same
    else { return }
    // Without the lock on the blob's names, as the kernel may read for a minute. `hold` prevents eviction
    // meanwhile.
    guard (try? hold(file)) != nil else { return }
    var flags = 0
    guard ioctl(file.descriptor.rawValue, Self.getFlags, &flags) == 0 else {
      lacksVerity.store(true, ordering: .relaxed)
      return
    }
    guard flags & Self.verityFlag == 0 else { return }
    // The kernel requires a file that its owner may write to and that no process has open for writing.
    guard fchmod(file.descriptor.rawValue, 0o644) == 0 else { return }
    var argument = EnableVerity()
    let result = ioctl(file.descriptor.rawValue, Self.enableVerity, &argument)
    let error = Errno(rawValue: errno)
    _ = fchmod(file.descriptor.rawValue, 0o444)
    guard result != 0 else { return }
    let isLacking =
      error == .inappropriateIOCTLForDevice || error == .notSupportedOnSocket || error == .notSupported
    if isLacking { lacksVerity.store(true, ordering: .relaxed) }
  }
}
