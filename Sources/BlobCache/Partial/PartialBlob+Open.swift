import CLinux
import Glibc
import Hashing
import OCI
import Locking
import SystemPackage
import Disk

/// Creation of a partial blob, and continuation of one that an earlier process created.
extension PartialBlob {
  /// Opens or creates a partial blob.
  ///
  /// After a reboot each chunk is hashed before it counts as present: power may have been lost before its
  /// bytes reached the disk.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the blob.
  ///   - path: The path of the sparse file.
  ///   - bootIdentifier: 16 bytes that identify the boot.
  /// - Throws: `Errno`.
  static func open(
    _ descriptor: Descriptor,
    path: FilePath,
    bootIdentifier: [UInt8]
  ) throws(Errno) -> PartialBlob {
    if let found = try existing(descriptor, path, bootIdentifier) { return found }
    // Another process may have the old files open: their names are removed, their bytes are not changed.
    try Disk.remove(path)
    try PartialNames.removeMap(of: path)
    let permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead]
    let options: FileDescriptor.OpenOptions = [.create, .exclusiveCreate, .closeOnExec]
    let file = try Disk.open(path, .readWrite, options: options, permissions: permissions)
    do throws(Errno) {
      let mapFile = try Disk.open(
        PartialNames.newMap(of: path),
        .readWrite,
        options: options,
        permissions: permissions
      )
      do throws(Errno) {
        return try empty(descriptor, file, mapFile, path, bootIdentifier, isInMemory: false)
      } catch {
        Disk.close(mapFile)
        throw error
      }
    } catch {
      Disk.close(file)
      throw error
    }
  }

  /// Creates a partial blob whose files are in memory; none of its bytes is written to the disk.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the blob.
  ///   - path: The path that the file would have, for messages.
  ///   - bootIdentifier: 16 bytes that identify the boot.
  /// - Throws: `Errno`.
  static func inMemory(
    _ descriptor: Descriptor,
    path: FilePath,
    bootIdentifier: [UInt8]
  ) throws(Errno) -> PartialBlob {
    let numbers = (clinux_memory_file("weightfs-partial"), clinux_memory_file("weightfs-map"))
    let file = FileDescriptor(rawValue: numbers.0)
    let mapFile = FileDescriptor(rawValue: numbers.1)
    do throws(Errno) {
      guard numbers.0 >= 0, numbers.1 >= 0 else { throw Errno(rawValue: -min(numbers.0, numbers.1)) }
      return try empty(descriptor, file, mapFile, path, bootIdentifier, isInMemory: true)
    } catch {
      if numbers.0 >= 0 { Disk.close(file) }
      if numbers.1 >= 0 { Disk.close(mapFile) }
      throw error
    }
  }

  /// Creates a blob from two new files, with no block present.
  private static func empty(
    _ descriptor: Descriptor,
    _ file: FileDescriptor,
    _ mapFile: FileDescriptor,
    _ path: FilePath,
    _ bootIdentifier: [UInt8],
    isInMemory: Bool
  ) throws(Errno) -> PartialBlob {
    guard ftruncate(file.rawValue, off_t(descriptor.size)) == 0 else { throw Errno(rawValue: errno) }
    let map = PartialMapFile(descriptor: mapFile, size: descriptor.size)
    try map.reset(bootIdentifier: bootIdentifier)
    try RangeLock.share(mapFile, presence)
    return PartialBlob(
      descriptor: descriptor,
      file: file,
      map: map,
      blocks: BlockMap(size: descriptor.size),
      path: path,
      isInMemory: isInMemory
    )
  }

  /// Opens the partial blob of an earlier process, or returns nil if no usable one exists.
  private static func existing(
    _ descriptor: Descriptor,
    _ path: FilePath,
    _ bootIdentifier: [UInt8]
  ) throws(Errno) -> PartialBlob? {
    let options: FileDescriptor.OpenOptions = [.closeOnExec, .noFollow]
    // A blob that cannot be opened is begun again.
    guard let file = try? Disk.open(path, .readWrite, options: options) else { return nil }
    let mapPath = PartialNames.map(of: path)
    guard let mapFile = try? Disk.open(mapPath, .readWrite, options: options) else {
      Disk.close(file)
      return nil
    }
    do throws(Errno) {
      let map = PartialMapFile(descriptor: mapFile, size: descriptor.size)
      if try FileIdentity(of: file).size == descriptor.size, let boot = try map.bootIdentifier() {
        try rename(mapFile, mapPath, of: path)
        // Taken before the map is read: from here on no other process removes blocks from it.
        try RangeLock.share(mapFile, presence)
        let isSameBoot = boot == bootIdentifier
        let blocks = try load(map, file: file, size: descriptor.size, isTrusted: isSameBoot)
        if !isSameBoot { try map.writeHeader(bootIdentifier: bootIdentifier) }
        return PartialBlob(
          descriptor: descriptor,
          file: file,
          map: map,
          blocks: blocks,
          path: path
        )
      }
      Disk.close(file)
      Disk.close(mapFile)
      return nil
    } catch {
      Disk.close(file)
      Disk.close(mapFile)
      throw error
    }
  }

  /// Renames the map of an earlier version to the current name, unless another process has it open.
  private static func rename(_ mapFile: FileDescriptor, _ mapPath: FilePath, of path: FilePath) throws(Errno)
  {
    guard mapPath == PartialNames.oldMap(of: path), try RangeLock.tryLock(mapFile, presence) else { return }
    try Disk.rename(mapPath, to: PartialNames.newMap(of: path))
  }

  private static func load(
    _ map: PartialMapFile,
    file: FileDescriptor,
    size: Int64,
    isTrusted: Bool
  ) throws(Errno) -> BlockMap {
    var blocks = BlockMap(size: size)
    for run in try map.presentRuns(in: 0..<blocks.blockCount) { blocks.insert(run) }
    guard !isTrusted else { return blocks }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(BlockMap.chunkSize), alignment: 4096)
    defer { buffer.deallocate() }
    var position = 0
    // The record of the previous chunk, kept because dropping a chunk erases its record and the next chunk
    // needs it.
    var previous: (chunk: Int, record: ChunkRecord?)?
    while case let first = blocks.firstPresent(from: position, before: blocks.blockCount),
      first < blocks.blockCount
    {
      let chunk = Int(Int64(first) * BlockMap.blockSize / BlockMap.chunkSize)
      let range = BlockMap.bytes(ofChunk: chunk, size: size)
      let members = blocks.blocks(touching: range)
      position = members.upperBound
      let record = try map.record(ofChunk: chunk)
      let before =
        previous?.chunk == chunk - 1 ? previous?.record : chunk > 0 ? try map.record(ofChunk: chunk - 1) : nil
      previous = (chunk, record)
      if blocks.contains(chunk: chunk), let record {
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count])
        let count = try Disk.read(file, into: part, at: range.lowerBound)
        let isRight = record.matches(
          UnsafeRawBufferPointer(part),
          behind: before,
          position: range.lowerBound,
          isLast: range.upperBound == size
        )
        if count == range.count, isRight { continue }
      }
      blocks.remove(members)
      try map.write(states: [UInt8](repeating: 0, count: members.count), from: members.lowerBound)
      try map.write(nil, ofChunk: chunk)
    }
    return blocks
  }
}
