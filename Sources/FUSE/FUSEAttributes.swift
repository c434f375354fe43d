import CFUSE

/// The attributes of a node, as stat(2) reports them.
package struct FUSEAttributes: Sendable {
  package var inode: UInt64
  /// File type (`S_IFREG` …) and permission bits.
  package var mode: UInt32
  /// Size in bytes.
  package var size: Int64
  /// Number of 512-byte units.
  package var blocks: Int64
  package var linkCount: UInt32
  /// Seconds since 1970; also used as access and change time.
  package var modificationTime: Int64
  package var userIdentifier: UInt32
  package var groupIdentifier: UInt32

  /// Creates attributes.
  ///
  /// - Parameters:
  ///   - inode: The inode number.
  ///   - mode: File type and permission bits.
  ///   - size: The size in bytes.
  ///   - blocks: The number of 512-byte units.
  ///   - linkCount: The number of hard links.
  ///   - modificationTime: Seconds since 1970.
  ///   - userIdentifier: The owner.
  ///   - groupIdentifier: The group.
  package init(
    inode: UInt64,
    mode: UInt32,
    size: Int64 = 0,
    blocks: Int64 = 0,
    linkCount: UInt32 = 1,
    modificationTime: Int64 = 0,
    userIdentifier: UInt32 = 0,
    groupIdentifier: UInt32 = 0
  ) {
    self.inode = inode
    self.mode = mode
    self.size = size
    self.blocks = blocks
    self.linkCount = linkCount
    self.modificationTime = modificationTime
    self.userIdentifier = userIdentifier
    self.groupIdentifier = groupIdentifier
  }

  var status: stat {
    var status = stat()
    status.st_ino = UInt(inode)
    status.st_mode = mode
    status.st_size = Int(size)
    status.st_blocks = Int(blocks)
    // Programs read in units of st_blksize: a larger value means fewer calls.
    status.st_blksize = 1 << 20
    status.st_nlink = UInt(linkCount)
    status.st_uid = userIdentifier
    status.st_gid = groupIdentifier
    let time = timespec(tv_sec: Int(modificationTime), tv_nsec: 0)
    status.st_mtim = time
    status.st_atim = time
    status.st_ctim = time
    return status
  }
}

/// The values of statfs(2).
package struct FUSEStatistics: Sendable {
  package var blockSize: UInt64
  package var blocks: UInt64
  package var freeBlocks: UInt64
  package var availableBlocks: UInt64
  package var files: UInt64
  package var freeFiles: UInt64

  /// Creates statistics.
  ///
  /// - Parameters:
  ///   - blockSize: The block size in bytes.
  ///   - blocks: The total number of blocks.
  ///   - freeBlocks: The number of free blocks.
  ///   - availableBlocks: The number of blocks free for users other than root.
  ///   - files: The total number of inodes.
  ///   - freeFiles: The number of free inodes.
  package init(
    blockSize: UInt64,
    blocks: UInt64,
    freeBlocks: UInt64,
    availableBlocks: UInt64,
    files: UInt64,
    freeFiles: UInt64
  ) {
    self.blockSize = blockSize
    self.blocks = blocks
    self.freeBlocks = freeBlocks
    self.availableBlocks = availableBlocks
    self.files = files
    self.freeFiles = freeFiles
  }

  var status: statvfs {
    var status = statvfs()
    status.f_bsize = UInt(blockSize)
    status.f_frsize = UInt(blockSize)
    status.f_blocks = UInt(blocks)
    status.f_bfree = UInt(freeBlocks)
    status.f_bavail = UInt(availableBlocks)
    status.f_files = UInt(files)
    status.f_ffree = UInt(freeFiles)
    status.f_favail = UInt(freeFiles)
    status.f_namemax = 255
    return status
  }
}
