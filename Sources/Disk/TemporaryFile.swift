import CLinux
import Content
import Glibc
package import SystemPackage

/// A file that gets its final name once it is complete; otherwise it is removed when its process ends.
///
/// The file lies in the root's directory of temporary files. Its writer holds a lock on it, so that an
/// unlocked file is known to be left over from a crash.
package struct TemporaryFile: ~Copyable {
  package let descriptor: FileDescriptor
  /// A path that refers to the file while it is open.
  package let path: FilePath
  private let folder: FilePath
  private let hasName: Bool
  private var isDone = false

  // The kernel removes a file without a name when its last descriptor is closed.
  private static let unnamed = FileDescriptor.OpenOptions(rawValue: clinux_o_tmpfile)

  /// Creates a file in a directory on the file system of the final path.
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
      // Without the lock another process may take the file for a leftover only after the grace time.
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
    // A file that stays is a leftover that the next `gc` removes.
    if hasName, !isDone { try? Disk.remove(path) }
    Disk.close(descriptor)
  }

  /// Syncs the file and gives it its final name, atomically replacing an existing file.
  package mutating func rename(to target: FilePath) throws(Errno) {
    try Disk.synchronize(descriptor)
    // linkat(2) cannot replace an existing name, so an unnamed file gets a temporary name first.
    let own = hasName ? path : Self.name(in: folder)
    if !hasName { try Disk.link(descriptor, to: own) }
    do throws(Errno) {
      try Disk.rename(own, to: target)
      isDone = true
    } catch .improperLink {
      // The target directory is on another file system.
      // A file that stays is a leftover that the next `gc` removes.
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
    // The new file lies in the target's own directory, so this call does not recurse again.
    try other.rename(to: target)
  }

  // Nanoseconds. Covers the time between the creation of a file and the acquisition of its lock.
  private static let grace: Int64 = 60_000_000_000

  /// Removes temporary files of dead processes.
  ///
  /// - Parameters:
  ///   - folder: The directory of temporary files.
  ///   - now: The current time in nanoseconds since 1970.
  ///   - dryRun: Returns the files without removing them.
  /// - Returns: The files that were removed, or would be.
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
      // A file that is in use or cannot be read is left alone.
      guard let file = try? Disk.open(path, .readOnly, options: [.closeOnExec, .noFollow]) else { continue }
      defer { Disk.close(file) }
      guard let identity = try? FileIdentity(of: file), now - identity.modified > grace,
        (try? RangeLock.firstConflict(file, 0..<1)) == .some(nil)
      else { continue }
      if !dryRun { try Disk.remove(path) }
      removed.append(path)
    }
    return removed
  }
}
