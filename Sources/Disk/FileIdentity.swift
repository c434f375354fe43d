import Glibc
package import SystemPackage

/// The device, inode, size and modification time of a file, which identify one state of the file.
package struct FileIdentity: Sendable, Hashable {
  package let device: UInt64
  package let inode: UInt64
  package let size: Int64
  /// Nanoseconds since 1970.
  package let modified: Int64
  package let isRegular: Bool

  /// Whether both are the same file, even if it was modified in between.
  package func isSameFile(as other: FileIdentity) -> Bool { device == other.device && inode == other.inode }

  /// Reads the identity of an open file.
  ///
  /// - Throws: `Errno`.
  package init(of descriptor: FileDescriptor) throws(Errno) {
    var status = stat()
    guard fstat(descriptor.rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
    self.init(status)
  }

  /// Returns the number of hard links of an open file.
  package static func linkCount(of descriptor: FileDescriptor) throws(Errno) -> Int {
    var status = stat()
    guard fstat(descriptor.rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
    return Int(status.st_nlink)
  }

  /// Reads the identity of a path, following symbolic links except below a local registry.
  ///
  /// - Throws: `Errno`.
  package init(at path: FilePath) throws(Errno) {
    guard let status = Disk.status(path) else { throw Errno(rawValue: errno) }
    // Below a local registry links are refused.
    guard status.st_mode & S_IFMT != S_IFLNK else { throw Errno.tooManySymbolicLinkLevels }
    self.init(status)
  }

  private init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    size = Int64(status.st_size)
    modified = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
    isRegular = status.st_mode & S_IFMT == S_IFREG
  }
}
