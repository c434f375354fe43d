import CLinux
package import Content
package import Glibc
package import SystemPackage

/// System calls with `Errno` as typed error, and functions that read or write a small file completely.
package enum Disk {
  package static func open(
    _ path: FilePath,
    _ mode: FileDescriptor.AccessMode,
    options: FileDescriptor.OpenOptions = [.closeOnExec],
    permissions: FilePermissions? = nil
  ) throws(Errno) -> FileDescriptor {
    while true {
      let descriptor = ConfinedRoots.open(
        path,
        mode.rawValue | options.rawValue,
        permissions?.rawValue ?? 0
      )
      if descriptor >= 0 { return FileDescriptor(rawValue: descriptor) }
      guard errno == EINTR else { throw Errno(rawValue: errno) }
    }
  }

  /// Reads until the buffer is full or the file ends.
  package static func read(
    _ descriptor: FileDescriptor,
    into buffer: UnsafeMutableRawBufferPointer,
    at offset: Int64
  ) throws(Errno) -> Int {
    var done = 0
    while done < buffer.count {
      let count = pread(
        descriptor.rawValue,
        buffer.baseAddress.map { $0 + done },
        buffer.count - done,
        off_t(offset) + off_t(done)
      )
      if count < 0 {
        if errno == EINTR { continue }
        throw Errno(rawValue: errno)
      }
      if count == 0 { break }
      done += count
    }
    return done
  }

  package static func write(
    _ descriptor: FileDescriptor,
    _ bytes: UnsafeRawBufferPointer,
    at offset: Int64
  ) throws(Errno) {
    var done = 0
    while done < bytes.count {
      let count = pwrite(
        descriptor.rawValue,
        bytes.baseAddress.map { $0 + done },
        bytes.count - done,
        off_t(offset) + off_t(done)
      )
      if count < 0 {
        if errno == EINTR { continue }
        throw Errno(rawValue: errno)
      }
      done += count
    }
  }

  package static func write(_ descriptor: FileDescriptor, _ bytes: [UInt8], at offset: Int64) throws(Errno) {
    let result: Result<Void, Errno> = bytes.withUnsafeBytes { buffer in
      do throws(Errno) {
        return .success(try write(descriptor, buffer, at: offset))
      } catch {
        return .failure(error)
      }
    }
    try result.get()
  }

  /// Writes at the file's current position; works for pipes too.
  package static func append(_ descriptor: FileDescriptor, _ bytes: UnsafeRawBufferPointer) throws(Errno) {
    var done = 0
    while done < bytes.count {
      let count = Glibc.write(
        descriptor.rawValue,
        bytes.baseAddress.map { $0 + done },
        bytes.count - done
      )
      if count < 0 {
        if errno == EINTR { continue }
        throw Errno(rawValue: errno)
      }
      done += count
    }
  }

  /// Returns the value of an extended attribute of at most 256 bytes, or nil if there is none.
  ///
  /// - Parameters:
  ///   - name: The name, with its namespace.
  ///   - path: The path of a file or directory.
  package static func extendedAttribute(_ name: String, of path: String) -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = getxattr(path, name, &buffer, buffer.count)
    return count < 0 ? nil : Array(buffer[..<count])
  }

  /// Makes a file share a range of another one's blocks (a reflink); returns false if the file system cannot,
  /// for example if the range does not start at a block.
  ///
  /// - Parameters:
  ///   - source: The file to share with.
  ///   - range: The range in bytes, which becomes the content of the target.
  ///   - target: An empty file.
  package static func clone(
    _ source: FileDescriptor,
    _ range: Range<Int64>,
    to target: FileDescriptor
  ) -> Bool {
    clinux_clone_range(
      target.rawValue,
      source.rawValue,
      UInt64(range.lowerBound),
      UInt64(range.count)
    ) == 0
  }

  /// Copies a range of a file to the start of another file.
  package static func copy(
    _ source: FileDescriptor,
    _ range: Range<Int64>,
    to target: FileDescriptor
  ) throws(Errno) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var position = range.lowerBound
    while position < range.upperBound {
      let wanted = Int(min(Int64(buffer.count), range.upperBound - position))
      let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
      guard try read(source, into: piece, at: position) == wanted else { throw Errno.ioError }
      try write(target, UnsafeRawBufferPointer(piece), at: position - range.lowerBound)
      position += Int64(wanted)
    }
  }

  /// Starts writeback of dirty pages without waiting.
  package static func startWriteback(_ descriptor: FileDescriptor, _ range: Range<Int64>) {
    _ = clinux_start_writeback(descriptor.rawValue, range.lowerBound, Int64(range.count))
  }

  package static func synchronize(_ descriptor: FileDescriptor) throws(Errno) {
    guard fdatasync(descriptor.rawValue) == 0 else { throw Errno(rawValue: errno) }
  }

  package static func synchronizeFolder(_ path: FilePath) throws(Errno) {
    let descriptor = try open(path, .readOnly, options: [.closeOnExec, .directory])
    defer { Disk.close(descriptor) }
    guard fsync(descriptor.rawValue) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Closes a file.
  ///
  /// close(2) reports only failures of earlier writes; writes that matter are synchronised before.
  package static func close(_ file: FileDescriptor) {
    do {
      try file.close()
    } catch {
      return
    }
  }

  /// Creates a directory and its missing parents.
  package static func createFolder(_ path: FilePath, permissions: CInterop.Mode = 0o755) throws(Errno) {
    let result = ConfinedRoots.makeDirectory(path, permissions)
    if result == 0 || errno == EEXIST { return }
    guard errno == ENOENT, path.lastComponent != nil else { throw Errno(rawValue: errno) }
    try createFolder(path.removingLastComponent(), permissions: permissions)
    let second = ConfinedRoots.makeDirectory(path, permissions)
    if second != 0, errno != EEXIST { throw Errno(rawValue: errno) }
  }

  /// Returns the status of a path, or nil.
  ///
  /// Below a local registry a symbolic link is not followed, elsewhere it is.
  package static func status(_ path: FilePath, followsLinks: Bool = true) -> stat? {
    var status = stat()
    let follows = followsLinks && !ConfinedRoots.contains(path)
    let result = ConfinedRoots.at(path) { fstatat($0, $1, &status, follows ? 0 : AT_SYMLINK_NOFOLLOW) }
    return result == 0 ? status : nil
  }

  private static func kind(_ path: FilePath, followsLinks: Bool = true) -> CInterop.Mode? {
    status(path, followsLinks: followsLinks).map { $0.st_mode & S_IFMT }
  }

  package static func exists(_ path: FilePath) -> Bool {
    guard let kind = kind(path) else { return false }
    return kind != S_IFLNK
  }

  package static func isFolder(_ path: FilePath) -> Bool { kind(path) == S_IFDIR }

  /// Returns the target of a symbolic link, or nil if the path is not one.
  package static func linkTarget(_ path: FilePath) -> String? {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = ConfinedRoots.at(path) { Int32(readlinkat($0, $1, &buffer, buffer.count - 1)) }
    guard count > 0 else { return nil }
    return String(decoding: buffer[..<Int(count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Whether a path is a directory itself, not a symbolic link to one.
  package static func isRealFolder(_ path: FilePath) -> Bool { kind(path, followsLinks: false) == S_IFDIR }

  package static func isFile(_ path: FilePath) -> Bool { kind(path) == S_IFREG }

  /// Returns the disk space that a file occupies, in bytes; 0 if the file does not exist.
  package static func allocatedBytes(_ path: FilePath) -> Int64 {
    allocation(path)?.bytes ?? 0
  }

  /// Returns the inode of a file and the bytes that it occupies, or nil if there is none.
  ///
  /// Symbolic links are not followed.
  package static func allocation(_ path: FilePath) -> (inode: UInt64, bytes: Int64)? {
    // st_blocks counts units of 512 bytes, independent of the block size of the file system (stat(2)).
    status(path, followsLinks: false).map { (UInt64($0.st_ino), Int64($0.st_blocks) * 512) }
  }

  /// Returns when a file was last renamed or changed in mode, in nanoseconds since 1970; now if that cannot
  /// be determined.
  package static func changeTime(_ path: FilePath) -> Int64 {
    guard let status = status(path, followsLinks: false) else { return RealTime.now }
    return Int64(status.st_ctim.tv_sec) * 1_000_000_000 + Int64(status.st_ctim.tv_nsec)
  }

  /// Sets the access and modification times of a file to now.
  package static func touch(_ path: FilePath) {
    // A failure is ignored: the use is not recorded, with no other effect.
    _ = ConfinedRoots.at(path) { utimensat($0, $1, nil, AT_SYMLINK_NOFOLLOW) }
  }

  /// Returns the free space of a file system for this user in bytes.
  package static func freeBytes(_ path: FilePath) throws(Errno) -> Int64 {
    var status = statvfs()
    // The function and the structure share a name.
    let ask: (UnsafePointer<CChar>, UnsafeMutablePointer<statvfs>) -> Int32 = statvfs
    guard path.withPlatformString({ ask($0, &status) }) == 0 else { throw Errno(rawValue: errno) }
    return Int64(status.f_bavail) * Int64(status.f_frsize)
  }

  /// Returns the size in bytes of the file system that contains, or will contain, a path; nil if it cannot be
  /// determined.
  package static func fileSystemSize(_ path: FilePath) -> Int64? {
    var place = path
    var status = statvfs()
    let ask: (UnsafePointer<CChar>, UnsafeMutablePointer<statvfs>) -> Int32 = statvfs
    while place.withPlatformString({ ask($0, &status) }) != 0 {
      guard place.removeLastComponent() else { return nil }
    }
    return Int64(status.f_blocks) * Int64(status.f_frsize)
  }

  package static func removeFolder(_ path: FilePath) throws(Errno) {
    guard ConfinedRoots.at(path, { unlinkat($0, $1, AT_REMOVEDIR) }) == 0 || errno == ENOENT else {
      throw Errno(rawValue: errno)
    }
  }

  package static func remove(_ path: FilePath) throws(Errno) {
    guard ConfinedRoots.at(path, { unlinkat($0, $1, 0) }) == 0 || errno == ENOENT else {
      throw Errno(rawValue: errno)
    }
  }

  package static func rename(_ from: FilePath, to: FilePath) throws(Errno) {
    let result = ConfinedRoots.at(from) { source, old in
      ConfinedRoots.at(to) { target, new in renameat(source, old, target, new) }
    }
    guard result == 0 else { throw Errno(rawValue: errno) }
  }

  package static func link(_ from: FilePath, to: FilePath) throws(Errno) {
    let result = ConfinedRoots.at(from) { source, old in
      ConfinedRoots.at(to) { target, new in linkat(source, old, target, new, 0) }
    }
    guard result == 0 else { throw Errno(rawValue: errno) }
  }

  /// Links an open file to a name, regardless of its other names.
  package static func link(_ file: FileDescriptor, to: FilePath) throws(Errno) {
    let source = "/proc/self/fd/\(file.rawValue)"
    let result = ConfinedRoots.at(to) { linkat(AT_FDCWD, source, $0, $1, AT_SYMLINK_FOLLOW) }
    guard result == 0 else { throw Errno(rawValue: errno) }
  }

  /// Opens a directory for reading its entries.
  private static func openFolder(_ path: FilePath) -> OpaquePointer? {
    let descriptor = ConfinedRoots.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    guard descriptor >= 0 else { return nil }
    guard let folder = fdopendir(descriptor) else {
      Glibc.close(descriptor)
      return nil
    }
    return folder
  }

  /// Returns the name of a directory entry.
  ///
  /// An entry is shorter than `dirent`: copying the complete struct reads past the end of the buffer at the
  /// last entry.
  private static func name(_ entry: UnsafeMutablePointer<dirent>) -> String {
    guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return "" }
    let bytes = UnsafeRawPointer(entry) + offset
    return String(cString: bytes.assumingMemoryBound(to: CChar.self))
  }

  /// Whether a directory contains a name that satisfies a predicate; stops reading at the first one.
  package static func contains(_ path: FilePath, where isOne: (String) -> Bool) -> Bool {
    guard let folder = openFolder(path) else { return false }
    defer { closedir(folder) }
    while let entry = readdir(folder) {
      if isOne(Self.name(entry)) { return true }
    }
    return false
  }

  /// Returns the names in a directory, sorted, without `.` and `..`; none if the directory does not exist.
  package static func names(in path: FilePath) throws(Errno) -> [String] {
    guard let folder = openFolder(path) else {
      if errno == ENOENT || errno == ENOTDIR { return [] }
      throw Errno(rawValue: errno)
    }
    defer { closedir(folder) }
    var found: [String] = []
    while let entry = readdir(folder) {
      let name = name(entry)
      if name != ".", name != ".." { found.append(name) }
    }
    return found.sorted()
  }

  /// Returns the same for a layout, with an error that names the path.
  package static func namesInLayout(_ path: FilePath) throws(ContentError) -> [String] {
    do throws(Errno) {
      return try names(in: path)
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
  }

  /// Reads a small file, or returns nil if it does not exist.
  ///
  /// - Parameters:
  ///   - path: The path of the file.
  ///   - limit: The maximum size in bytes; a longer file is an error.
  /// - Throws: `ContentError`.
  package static func contents(of path: FilePath, limit: Int) throws(ContentError) -> [UInt8]? {
    do throws(Errno) {
      let descriptor = try open(path, .readOnly, options: [.closeOnExec, .nonBlocking])
      defer { Disk.close(descriptor) }
      let identity = try FileIdentity(of: descriptor)
      guard identity.isRegular else { throw Errno.invalidArgument }
      guard identity.size <= limit else { throw Errno.fileTooLarge }
      var bytes = [UInt8](repeating: 0, count: Int(identity.size))
      var failure: Errno?
      let count = bytes.withUnsafeMutableBytes { buffer in
        do throws(Errno) {
          return try read(descriptor, into: buffer, at: 0)
        } catch {
          failure = error
          return 0
        }
      }
      if let failure { throw failure }
      bytes.removeSubrange(count...)
      return bytes
    } catch .noSuchFileOrDirectory {
      return nil
    } catch .notDirectory {
      return nil
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
  }
}
