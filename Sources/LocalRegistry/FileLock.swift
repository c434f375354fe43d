import CLinux
import Glibc
import SystemPackage

/// A lock that other processes see, on a file of its own; it ends with this object or with the process.
final class FileLock: Sendable {
  private let descriptor: FileDescriptor

  /// Takes the lock, waiting for who has it.
  ///
  /// Holders keep it for one short write to the disk.
  init(waitingFor path: FilePath) throws(Errno) {
    guard let file = try Self.lock(path, LOCK_EX) else { throw .resourceTemporarilyUnavailable }
    descriptor = file
  }

  /// Takes the lock if nobody has it.
  init?(trying path: FilePath) throws(Errno) {
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

  /// Takes the name of a lock away that nobody has.
  ///
  /// Under the lock: who waits for it finds that it has no name any more, and makes it anew.
  static func removeIfFree(_ path: FilePath) {
    guard let lock = try? FileLock(trying: path) else { return }
    try? Disk.remove(path)
    withExtendedLifetime(lock) {}
  }

  deinit { try? descriptor.close() }
}

/// A lock on a range of bytes of an open file (`F_OFD_SETLK`, fcntl(2)): other processes see it, and
/// the kernel ends it when the process dies.
///
/// Here a byte stands for a block of a blob.
enum RangeLock {
  private static let setLock = clinux_ofd_set_lock
  private static let setLockAndWait = clinux_ofd_set_lock_wait
  private static let getLock = clinux_ofd_get_lock

  /// Takes a lock that others may have too, waiting for who has it alone; an own lock becomes a shared one.
  static func share(_ descriptor: FileDescriptor, _ range: Range<Int>) throws(Errno) {
    try set(descriptor, range, type: F_RDLCK, setLockAndWait)
  }

  /// The first byte of a range that somebody else has a lock on.
  static func firstConflict(_ descriptor: FileDescriptor, _ range: Range<Int>) throws(Errno) -> Int? {
    var lock = lock(range, type: F_WRLCK)
    guard fcntl(descriptor.rawValue, getLock, &lock) == 0 else { throw Errno(rawValue: errno) }
    return lock.l_type == Int16(F_UNLCK) ? nil : max(range.lowerBound, Int(lock.l_start))
  }

  /// Takes the lock if nobody else has any of it.
  static func tryLock(_ descriptor: FileDescriptor, _ range: Range<Int>) throws(Errno) -> Bool {
    do throws(Errno) {
      try set(descriptor, range, type: F_WRLCK)
      return true
    } catch {
      guard error == .resourceTemporarilyUnavailable || error == .permissionDenied else { throw error }
      return false
    }
  }

  static func unlock(_ descriptor: FileDescriptor, _ range: Range<Int>) {
    try? set(descriptor, range, type: F_UNLCK)
  }

  private static func lock(_ range: Range<Int>, type: Int32) -> flock {
    var lock = flock()
    lock.l_type = Int16(type)
    lock.l_whence = Int16(SEEK_SET)
    lock.l_start = off_t(range.lowerBound)
    lock.l_len = off_t(range.count)
    return lock
  }

  private static func set(
    _ descriptor: FileDescriptor,
    _ range: Range<Int>,
    type: Int32,
    _ command: Int32 = setLock
  ) throws(Errno) {
    var lock = lock(range, type: type)
    while fcntl(descriptor.rawValue, command, &lock) != 0 {
      guard errno == EINTR else { throw Errno(rawValue: errno) }
    }
  }
}
