import Glibc
package import OCI
package import SystemPackage
package import Disk

extension BlobPool {
  /// Turns a damaged blob into a partial blob: its undamaged blocks are present, the damaged ones are
  /// missing.
  ///
  /// The pool's file is renamed rather than copied, so that a blob of many gigabytes needs neither time nor
  /// space. A file that cannot be written to (fs-verity) and a part of an archive are copied.
  package func reopen(_ file: BlobFile, _ descriptor: Descriptor, damage: [Range<Int64>]) throws(Errno) {
    let digest = descriptor.digest
    let lock = try namesLock(digest)
    defer { withExtendedLifetime(lock) {} }
    guard !isOpen(digest, isPartial: true) else { throw Errno.resourceBusy }
    let path = root.partial(digest)
    let mapPath = PartialNames.newMap(of: path)
    _ = try ledger.remove(path)
    try PartialNames.removeMap(of: path)
    let isOwn = file.path == root.blob(digest) && file.isInPlace
    // A file that cannot be made writable, as with fs-verity, is copied.
    let target = isOwn ? try? makeWritable(file) : nil
    defer { target.map(Disk.close) }
    if target == nil { try copy(file, descriptor, without: damage, to: path) }
    // The map before the data file: a data file without its map would be cleared.
    var map = try TemporaryFile(in: root.temporary, permissions: [.ownerReadWrite, .groupRead, .otherRead])
    let blocks = Self.blocks(descriptor.size, without: damage)
    let mapFile = PartialMapFile(descriptor: map.descriptor, size: descriptor.size)
    try mapFile.reset(bootIdentifier: bootIdentifier)
    try mapFile.write(states: blocks, from: 0)
    try map.rename(to: mapPath)
    if let target {
      guard ftruncate(target.rawValue, off_t(descriptor.size)) == 0 else { throw Errno(rawValue: errno) }
      try Disk.rename(root.blob(digest), to: path)
    } else if isOwn {
      _ = try ledger.remove(root.blob(digest))
    }
    VerificationRecords(root: root).removePool(digest)
    try Disk.synchronizeFolder(root.partials(digest.algorithm))
    try Disk.synchronizeFolder(root.blobs(digest.algorithm))
    forgetOpen(digest)
  }

  private func makeWritable(_ file: BlobFile) throws(Errno) -> FileDescriptor {
    guard fchmod(file.descriptor.rawValue, root.share.fileMode) == 0 else { throw Errno(rawValue: errno) }
    return try Disk.open(file.path, .readWrite, options: [.closeOnExec, .noFollow])
  }

  private func copy(
    _ file: BlobFile,
    _ descriptor: Descriptor,
    without damage: [Range<Int64>],
    to path: FilePath
  ) throws(Errno) {
    var output = try TemporaryFile(
      in: root.temporary,
      permissions: [.ownerReadWrite, .groupRead, .otherRead]
    )
    guard ftruncate(output.descriptor.rawValue, off_t(descriptor.size)) == 0 else {
      throw Errno(rawValue: errno)
    }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var position: Int64 = 0
    var damage = damage[...]
    while position < descriptor.size {
      if let next = damage.first, next.lowerBound <= position {
        position = max(position, next.upperBound)
        damage = damage.dropFirst()
        continue
      }
      let end = min(position + Int64(buffer.count), damage.first?.lowerBound ?? descriptor.size)
      let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(end - position)])
      guard try file.read(into: piece, at: position) == piece.count else { throw Errno.ioError }
      try Disk.write(output.descriptor, UnsafeRawBufferPointer(piece), at: position)
      position = end
    }
    try output.rename(to: path)
    try ledger.add(Disk.allocatedBytes(path))
  }

  /// Returns one byte per block: 1 if none of its bytes is damaged.
  private static func blocks(_ size: Int64, without damage: [Range<Int64>]) -> [UInt8] {
    var states = [UInt8](repeating: 1, count: BlockMap.blockCount(size: size))
    for range in damage {
      for block in BlockMap.blocks(touching: range, size: size) { states[block] = 0 }
    }
    return states
  }
}
