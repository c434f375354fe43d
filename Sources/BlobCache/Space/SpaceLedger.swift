import Content
import Glibc
import Locking
package import SystemPackage
import Disk

/// The space that the blobs of a root use and have reserved, over all processes that write to the root
/// (docs/local-registry.md, "Space").
///
///     0   8  "WFSSPAC1"
///     8   8  bytes of blobs and partial blobs, reserved bytes included, little endian
///     16  8  number of slots ever taken
///     64  32 per process: bytes reserved, cache limit (-1: none), minimum free space as set and by default
///
/// Each process holds a lock on the first byte of its slot, so that the next recount ignores the reservations
/// of a dead process. A recount scans only the pool's directories, never the tree of layouts.
package final class SpaceLedger: Sendable {
  /// The values of the ledger.
  struct Balance: Equatable {
    var used: Int64
    var promised: Int64
    var limits: SpaceLimits
  }

  private static let magic = Array("WFSSPAC1".utf8)
  private static let headerSize = 64
  private static let placeSize = 32
  private static let places = 256

  private let root: RegistryRoot
  private let file: FileDescriptor
  private let place: Int
  private let limits: SpaceLimits
  // Bytes reserved by this process. Guards within the process; `locks/space` guards between processes.
  private let state = Mutex<Int64>(0)

  /// Opens the ledger and takes a slot in it.
  package init(root: RegistryRoot, limits: SpaceLimits) throws(Errno) {
    self.root = root
    self.limits = limits
    let file = try Disk.open(
      root.space,
      .readWrite,
      options: [.create, .closeOnExec],
      permissions: [.ownerReadWrite, .groupRead, .otherRead]
    )
    self.file = file
    do throws(Errno) {
      let lock = try FileLock(waitingFor: root.locks.appending("space"))
      defer { withExtendedLifetime(lock) {} }
      place = try Self.takePlace(file)
      var header = [UInt8](repeating: 0, count: Self.magic.count)
      _ = try Self.read(file, &header, at: 0)
      if header != Self.magic { try Self.begin(file) }
      try Self.write(
        file,
        Self.bytes([0, limits.cacheLimit ?? -1, limits.minimumFree, limits.defaultFree]),
        at: Self.offset(place)
      )
      if header != Self.magic { try recount() }
      if try number(at: 16) <= place { try Self.write(file, Self.bytes([Int64(place) + 1]), at: 16) }
    } catch {
      try? file.close()
      throw error
    }
  }

  deinit { try? file.close() }

  private static func takePlace(_ file: FileDescriptor) throws(Errno) -> Int {
    for place in 0..<places {
      let first = offset(place)
      if try RangeLock.tryLock(file, first..<first + 1) { return place }
    }
    throw .tooManyOpenFiles
  }

  private static func begin(_ file: FileDescriptor) throws(Errno) {
    try write(file, [UInt8](repeating: 0, count: headerSize + places * placeSize), at: 0)
    try write(file, magic, at: 0)
  }

  /// Returns the used and reserved bytes, and the limits in force.
  func balance() throws(Errno) -> Balance {
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    return try balanceLocked()
  }

  private func balanceLocked() throws(Errno) -> Balance {
    let used = try number(at: 8)
    var promised = state.withLock { $0 }
    var limits = limits
    for theirs in try others() {
      promised += theirs[0]
      limits = limits.stricter(
        SpaceLimits(
          cacheLimit: theirs[1] < 0 ? nil : theirs[1],
          minimumFree: max(0, theirs[2]),
          defaultFree: max(0, theirs[3])
        )
      )
    }
    return Balance(used: used, promised: promised, limits: limits)
  }

  /// Returns the values in the slots of the other living processes.
  private func others() throws(Errno) -> [[Int64]] {
    var found: [[Int64]] = []
    for other in 0..<min(Self.places, Int(try number(at: 16))) where other != place {
      let first = Self.offset(other)
      guard try RangeLock.firstConflict(file, first..<first + 1) != nil else { continue }
      found.append(try (0..<4).map { (index) throws(Errno) in try number(at: first + 8 * index) })
    }
    return found
  }

  /// Reserves space for this process.
  ///
  /// - Parameters:
  ///   - count: The number of bytes.
  ///   - free: The free space of the disk in bytes.
  /// - Returns: The bytes that must be freed first; none if the space is reserved.
  /// - Throws: `Errno`.
  func reserve(_ count: Int64, free: Int64) throws(Errno) -> Shortfall {
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    return try reserveLocked(count, free: free)
  }

  /// Does the same; the caller holds the lock.
  func reserveLocked(_ count: Int64, free: Int64) throws(Errno) -> Shortfall {
    let balance = try balanceLocked()
    let short = balance.limits.shortfall(count, used: balance.used, free: free - balance.promised)
    if short.isNone { try change(used: balance.used + count, promised: count) }
    return short
  }

  /// Settles reserved bytes that are now on the disk.
  func settle(_ count: Int64) throws(Errno) {
    guard count > 0 else { return }
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    try change(used: nil, promised: -count)
  }

  /// Does the same; the caller holds the lock.
  func settleLocked(_ count: Int64) throws(Errno) { try change(used: nil, promised: -count) }

  /// Releases reserved bytes that did not arrive.
  func release(_ count: Int64) throws(Errno) {
    guard count > 0 else { return }
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    try change(used: max(0, try number(at: 8) - count), promised: -count)
  }

  /// Adds bytes that were written without a reservation, or subtracts removed bytes.
  func add(_ count: Int64) throws(Errno) {
    guard count != 0 else { return }
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    try change(used: max(0, try number(at: 8) + count), promised: 0)
  }

  /// Recounts the used bytes from the pool's directories, after crashes and after other programs removed
  /// files.
  func count() throws(Errno) {
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    try recount()
  }

  private func recount() throws(Errno) {
    var used = state.withLock { $0 }
    for theirs in try others() { used += theirs[0] }
    for folder in root.blobFolders {
      for name in try Disk.names(in: folder) {
        used += Disk.allocatedBytes(folder.appending(name))
      }
    }
    try Self.write(file, Self.bytes([used]), at: 8)
  }

  private func change(used: Int64?, promised: Int64) throws(Errno) {
    if let used { try Self.write(file, Self.bytes([used]), at: 8) }
    guard promised != 0 else { return }
    let own = state.withLock { own in
      own = max(0, own + promised)
      return own
    }
    try Self.write(file, Self.bytes([own]), at: Self.offset(place))
  }

  // MARK: The file

  private static func offset(_ place: Int) -> Int { headerSize + place * placeSize }

  private static func bytes(_ numbers: [Int64]) -> [UInt8] {
    numbers.flatMap { withUnsafeBytes(of: $0.littleEndian) { Array($0) } }
  }

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

  private static func write(_ file: FileDescriptor, _ bytes: [UInt8], at offset: Int) throws(Errno) {
    try Disk.write(file, bytes, at: Int64(offset))
  }
}
