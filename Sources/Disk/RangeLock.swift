import CLinux
import Glibc
package import SystemPackage

/// A lock on a range of bytes of an open file (`F_OFD_SETLK`, fcntl(2)): other processes see it, and
/// the kernel ends it when the process dies.
///
/// Here a byte stands for a block of a blob.
package enum RangeLock {
  private static let setLock = clinux_ofd_set_lock
  private static let setLockAndWait = clinux_ofd_set_lock_wait
  private static let getLock = clinux_ofd_get_lock

  /// Takes a lock that others may have too, waiting for who has it alone; an own lock becomes a shared one.
  package static func share(_ descriptor: FileDescriptor, _ range: Range<Int>) throws(Errno) {
    try set(descriptor, range, type: F_RDLCK, setLockAndWait)
  }

  /// The first byte of a range that somebody else has a lock on.
  package static func firstConflict(_ descriptor: FileDescriptor, _ range: Range<Int>) throws(Errno) -> Int? {
    var lock = lock(range, type: F_WRLCK)
    guard fcntl(descriptor.rawValue, getLock, &lock) == 0 else { throw Errno(rawValue: errno) }
    return lock.l_type == Int16(F_UNLCK) ? nil : max(range.lowerBound, Int(lock.l_start))
  }

  /// Takes the lock if nobody else has any of it.
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
