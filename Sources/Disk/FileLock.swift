import CLinux
import Glibc
package import SystemPackage

/// A lock that other processes see, on a file of its own; it ends with this object or with the process.
package final class FileLock: Sendable {
  private let descriptor: FileDescriptor

  /// Takes the lock and waits for its holder.
  ///
  /// Holders keep it for one short write to the disk.
  package init(waitingFor path: FilePath) throws(Errno) {
    guard let file = try Self.lock(path, LOCK_EX) else { throw .resourceTemporarilyUnavailable }
    descriptor = file
  }

  /// Takes the lock if no process holds it.
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
        try? file.close()
        if error == .wouldBlock { return nil }
        throw error
      }
      // `gc` may have taken the name away since: a lock without a name excludes nobody.
      if let own = try? FileIdentity(of: file), let named = try? FileIdentity(at: path),
        own.isSameFile(as: named)
      {
        return file
      }
      try? file.close()
    }
  }

  /// Removes the name of a lock that no process holds.
  ///
  /// Under the lock: a waiting process finds that the file has no name any more, and makes it again.
  package static func removeIfFree(_ path: FilePath) {
    guard let lock = try? FileLock(trying: path) else { return }
    try? Disk.remove(path)
    withExtendedLifetime(lock) {}
  }

  deinit { try? descriptor.close() }
}
