import Disk
import Glibc
import SystemPackage

/// The file of a space ledger, opened, with the slot of this process in it.
///
///     0   8  "WFSSPAC1"
///     8   8  bytes of blobs and partial blobs, reserved bytes included, little endian
///     16  8  number of slots that were ever used
///     64  32 a slot: bytes reserved by its process, its cache limit (-1: none), the free space that it asks for, as
///            set and by default
///
/// Each process holds a lock on the first byte of its slot, so that the reservations of a dead process count for
/// nothing. Every call needs the lock `locks/space`, except `isCurrent`.
final class SpaceFile: Sendable {
  private static let magic = Array("WFSSPAC1".utf8)
  private static let usedOffset = 8
  private static let slotCountOffset = 16
  private static let headerSize = 64
  private static let slotSize = 32
  private static let slots = 256

  private let file: FileDescriptor
  private let identity: FileIdentity
  private let slot: Int
  /// The file was new, so that its number of used bytes is to be counted.
  let isNew: Bool

  /// Opens the file, and makes it where there is none.
  ///
  /// - Throws: `Errno`; `tooManyOpenFiles` where 256 processes use the root.
  init(_ path: FilePath, limits: SpaceLimits, reserved: Int64) throws(Errno) {
    let file = try Disk.open(
      path,
      .readWrite,
      options: [.create, .closeOnExec],
      permissions: [.ownerReadWrite, .groupRead, .otherRead]
    )
    self.file = file
    do throws(Errno) {
      identity = try FileIdentity(of: file)
      slot = try Self.takeSlot(file)
      var header = [UInt8](repeating: 0, count: Self.magic.count)
      _ = try Self.read(file, &header, at: 0)
      isNew = header != Self.magic
      if isNew { try Self.begin(file) }
      let row = [reserved, limits.cacheLimit ?? -1, limits.minimumFree, limits.defaultFree]
      try Self.write(file, row, at: Self.offset(slot))
      if try number(at: Self.slotCountOffset) <= slot {
        try Self.write(file, [Int64(slot) + 1], at: Self.slotCountOffset)
      }
    } catch {
      // The first error is the one to tell.
      Disk.close(file)
      throw error
    }
  }

  // Nothing can be done about a close that fails: nothing was written through the descriptor since.
  deinit { Disk.close(file) }

  /// Whether the path still names this file: a root may have been removed and made again.
  func isCurrent(at path: FilePath) -> Bool {
    do {
      return try FileIdentity(at: path).isSameFile(as: identity)
    } catch {
      return false
    }
  }

  /// Bytes of blobs and partial blobs, reserved bytes included.
  func used() throws(Errno) -> Int64 { try number(at: Self.usedOffset) }

  func setUsed(_ count: Int64) throws(Errno) { try Self.write(file, [count], at: Self.usedOffset) }

  func setReserved(_ count: Int64) throws(Errno) { try Self.write(file, [count], at: Self.offset(slot)) }

  func setLimits(_ limits: SpaceLimits) throws(Errno) {
    let row = [limits.cacheLimit ?? -1, limits.minimumFree, limits.defaultFree]
    try Self.write(file, row, at: Self.offset(slot) + 8)
  }

  /// The rows of the other processes that are alive.
  func others() throws(Errno) -> [(reserved: Int64, limits: SpaceLimits)] {
    var found: [(reserved: Int64, limits: SpaceLimits)] = []
    for other in 0..<min(Self.slots, Int(try number(at: Self.slotCountOffset))) where other != slot {
      let first = Self.offset(other)
      guard try RangeLock.firstConflict(file, first..<first + 1) != nil else { continue }
      let row = try (0..<4).map { (index) throws(Errno) in try number(at: first + 8 * index) }
      let limits = SpaceLimits(
        cacheLimit: row[1] < 0 ? nil : row[1],
        minimumFree: max(0, row[2]),
        defaultFree: max(0, row[3])
      )
      found.append((row[0], limits))
    }
    return found
  }

  private static func takeSlot(_ file: FileDescriptor) throws(Errno) -> Int {
    for slot in 0..<slots {
      let first = offset(slot)
      if try RangeLock.tryLock(file, first..<first + 1) { return slot }
    }
    throw .tooManyOpenFiles
  }

  private static func begin(_ file: FileDescriptor) throws(Errno) {
    try Disk.write(file, [UInt8](repeating: 0, count: headerSize + slots * slotSize), at: 0)
    try Disk.write(file, magic, at: 0)
  }

  private static func offset(_ slot: Int) -> Int { headerSize + slot * slotSize }

  private func number(at offset: Int) throws(Errno) -> Int64 {
    var bytes = [UInt8](repeating: 0, count: 8)
    guard try Self.read(file, &bytes, at: offset) == 8 else { return 0 }
    return bytes.reversed().reduce(0) { $0 << 8 | Int64($1) }
  }

  private static func read(
    _ file: FileDescriptor,
    _ bytes: inout [UInt8],
    at offset: Int
  ) throws(Errno) -> Int {
    let result: Result<Int, Errno> = bytes.withUnsafeMutableBytes { buffer in
      do throws(Errno) {
        return .success(try Disk.read(file, into: buffer, at: Int64(offset)))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private static func write(_ file: FileDescriptor, _ numbers: [Int64], at offset: Int) throws(Errno) {
    let bytes = numbers.flatMap { withUnsafeBytes(of: $0.littleEndian) { Array($0) } }
    try Disk.write(file, bytes, at: Int64(offset))
  }
}
