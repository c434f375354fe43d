import CLinux
import Glibc
package import SystemPackage

/// A lock between processes, on a file of its own; released when this object is freed or the process dies.
package final class FileLock: Sendable {
  private let descriptor: FileDescriptor

  /// Acquires the lock, waiting for its holder.
  ///
  /// Holders keep the lock for one short write to the disk.
  package init(waitingFor path: FilePath) throws(Errno) {
    guard let file = try Self.lock(path, LOCK_EX) else { throw .resourceTemporarilyUnavailable }
    descriptor = file
  }

  /// Acquires the lock, or returns nil if another process holds it.
  package init?(trying path: FilePath) throws(Errno) {
    guard let file = try Self.lock(path, LOCK_EX | LOCK_NB) else { return nil }
    descriptor = file
  }

  private static func lock(_ path: FilePath, _ operation: Int32) throws(Errno) -> FileDescriptor? {
    while true {
      let file = try Disk.open(
        path,
        .readWrite,
        options: [.create, .closeOnExec],
        permissions: [.ownerReadWrite]
      )
      while flock(file.rawValue, operation) != 0 {
        let error = Errno(rawValue: errno)
        if error == .interrupted { continue }
        Disk.close(file)
        if error == .wouldBlock { return nil }
        throw error
      }
      // `gc` may have removed the name in the meantime: a lock on a file without a name excludes no other
      // process.
      if let own = try? FileIdentity(of: file), let named = try? FileIdentity(at: path),
        own.isSameFile(as: named)
      {
        return file
      }
      Disk.close(file)
    }
  }

  /// Removes the file of a lock that no process holds.
  ///
  /// Holds the lock meanwhile: a process that waits for it then sees that the file has no name, and creates
  /// the file again.
  package static func removeIfFree(_ path: FilePath) {
    guard let lock = try? FileLock(trying: path) else { return }
    try? Disk.remove(path)
    withExtendedLifetime(lock) {}
  }

  deinit { Disk.close(descriptor) }
}
