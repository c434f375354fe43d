import CLinux
import Content
import Glibc
package import SystemPackage

/// A file that gets its name once it is whole, and goes with its process otherwise.
///
/// It lies in the root's folder for such files, under a lock of who writes it, so that what a crash leaves is known for
/// what it is.
package struct TemporaryFile: ~Copyable {
  package let descriptor: FileDescriptor
  /// Leads to the file while it is open.
  package let path: FilePath
  private let folder: FilePath
  private let hasName: Bool
  private var isDone = false

  // A file without a name is removed with the process.
  private static let unnamed = FileDescriptor.OpenOptions(rawValue: clinux_o_tmpfile)

  /// Makes one in a folder of the file system where it is to stay.
  package init(in folder: FilePath, permissions: FilePermissions) throws(Errno) {
    let made = try Self.make(in: folder, permissions)
    self.folder = folder
    descriptor = made.descriptor
    path = made.path
    hasName = made.hasName
  }

  private static func make(
    in folder: FilePath,
    _ permissions: FilePermissions
  ) throws(Errno) -> (descriptor: FileDescriptor, path: FilePath, hasName: Bool) {
    do throws(Errno) {
      let descriptor = try open(folder, [unnamed, .closeOnExec], permissions)
      return (descriptor, FilePath("/proc/self/fd/\(descriptor.rawValue)"), false)
    } catch {
      guard error == .notSupported || error == .isDirectory || error == .invalidArgument else { throw error }
      let path = name(in: folder)
      let descriptor = try open(path, [.create, .exclusiveCreate, .closeOnExec], permissions)
      _ = try? RangeLock.tryLock(descriptor, 0..<1)
      return (descriptor, path, true)
    }
  }

  private static func name(in folder: FilePath) -> FilePath {
    folder.appending("\(getpid()).\(UInt64.random(in: 0 ... .max))")
  }

  private static func open(
    _ path: FilePath,
    _ options: FileDescriptor.OpenOptions,
    _ permissions: FilePermissions
  ) throws(Errno) -> FileDescriptor {
    do throws(Errno) {
      return try Disk.open(path, .readWrite, options: options, permissions: permissions)
    } catch .noSuchFileOrDirectory {
      try Disk.createFolder(options.contains(.create) ? path.removingLastComponent() : path)
      return try Disk.open(path, .readWrite, options: options, permissions: permissions)
    }
  }

  deinit {
    if hasName, !isDone { try? Disk.remove(path) }
    try? descriptor.close()
  }

  /// Puts the file on the disk, under its name, which may be taken: then the new one is there or the old one, never
  /// neither.
  package mutating func rename(to target: FilePath) throws(Errno) {
    try Disk.synchronize(descriptor)
    // A file without a name cannot take one that is taken: it gets one of its own first.
    let own = hasName ? path : Self.name(in: folder)
    if !hasName { try Disk.link(descriptor, to: own) }
    do throws(Errno) {
      try Disk.rename(own, to: target)
      isDone = true
    } catch .improperLink {
      // A part of the tree on a disk of its own.
      if !hasName { try? Disk.remove(own) }
      try copy(to: target)
    } catch {
      if !hasName { try? Disk.remove(own) }
      throw error
    }
    try Disk.synchronizeFolder(target.removingLastComponent())
  }

  private func copy(to target: FilePath) throws(Errno) {
    var status = stat()
    guard fstat(descriptor.rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
    var other = try TemporaryFile(
      in: target.removingLastComponent(),
      permissions: FilePermissions(rawValue: status.st_mode & 0o777)
    )
    try Disk.copy(descriptor, 0..<Int64(status.st_size), to: other.descriptor)
    // In the target's own folder: this does not come back here.
    try other.rename(to: target)
  }

  // Between the creation of a file and its lock.
  private static let grace: Int64 = 60_000_000_000

  /// Removes what dead processes left.
  ///
  /// - Parameters:
  ///   - folder: of temporary files.
  ///   - now: nanoseconds since 1970.
  ///   - dryRun: only tells.
  /// - Returns: what was removed, or would be.
  /// - Throws: `Errno`.
  @discardableResult
  package static func removeLeftovers(
    in folder: FilePath,
    now: Int64,
    dryRun: Bool = false
  ) throws(Errno) -> [FilePath] {
    var removed: [FilePath] = []
    for name in try Disk.names(in: folder) {
      let path = folder.appending(name)
      guard let file = try? Disk.open(path, .readOnly, options: [.closeOnExec, .noFollow]) else { continue }
      defer { try? file.close() }
      guard let identity = try? FileIdentity(of: file), now - identity.modified > grace,
        (try? RangeLock.firstConflict(file, 0..<1)) == .some(nil)
      else { continue }
      if !dryRun { try Disk.remove(path) }
      removed.append(path)
    }
    return removed
  }
}
