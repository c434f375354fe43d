import CLinux
import Glibc
package import SystemPackage

/// A lock on a range of bytes of an open file (`F_OFD_SETLK`, fcntl(2)): visible to other processes, and
/// released by the kernel when the process dies.
///
/// In weightfs a byte usually represents a block of a blob.
package enum RangeLock {
  private static let setLock = clinux_ofd_set_lock
  private static let setLockAndWait = clinux_ofd_set_lock_wait
  private static let getLock = clinux_ofd_get_lock

  /// Acquires a shared lock, waiting for the holder of an exclusive one; converts an exclusive lock of this
  /// process.
  package static func share(_ descriptor: FileDescriptor, _ range: Range<Int>) throws(Errno) {
    try set(descriptor, range, type: F_RDLCK, setLockAndWait)
  }

  /// Returns the first byte of a range on which another process holds a lock, or nil.
  package static func firstConflict(_ descriptor: FileDescriptor, _ range: Range<Int>) throws(Errno) -> Int? {
    var lock = lock(range, type: F_WRLCK)
    guard fcntl(descriptor.rawValue, getLock, &lock) == 0 else { throw Errno(rawValue: errno) }
    return lock.l_type == Int16(F_UNLCK) ? nil : max(range.lowerBound, Int(lock.l_start))
  }

  /// Acquires an exclusive lock, unless another process holds a lock on a part of the range.
  package static func tryLock(_ descriptor: FileDescriptor, _ range: Range<Int>) throws(Errno) -> Bool {
    do throws(Errno) {
      try set(descriptor, range, type: F_WRLCK)
      return true
    } catch {
      guard error == .resourceTemporarilyUnavailable || error == .permissionDenied else { throw error }
      return false
    }
  }

  package static func unlock(_ descriptor: FileDescriptor, _ range: Range<Int>) {
    // A lock that cannot be released ends with its descriptor.
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
