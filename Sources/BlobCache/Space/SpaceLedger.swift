import Content
import Glibc
import Locking
package import SystemPackage
import Disk

/// How much the blobs of a root take, and how much is promised, over all processes that write there
/// (docs/local-registry.md, "Space").
///
///     0   8  "WFSSPAC1"
///     8   8  bytes of blobs and partial blobs, with what is promised, little endian
///     16  8  places that were ever taken
///     64  32 a process: bytes promised to it, its cache limit (-1: none), its rest of the disk as set and by default
///
/// Each process holds a lock on the first byte of its place, so that what is promised to a dead one counts for nothing at
/// the next count. Counted anew is by the pool's own folders, when room is short; never by the tree.
package final class SpaceLedger: Sendable {
  /// What the ledger says.
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
  // Within the process; between processes it is `locks/space`.
  private let state = Mutex<Int64>(0)

  /// Opens the ledger, and takes a place in it.
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

  /// What is used, promised and allowed at present.
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

  /// What the other processes have written in their places.
  private func others() throws(Errno) -> [[Int64]] {
    var found: [[Int64]] = []
    for other in 0..<min(Self.places, Int(try number(at: 16))) where other != place {
      let first = Self.offset(other)
      guard try RangeLock.firstConflict(file, first..<first + 1) != nil else { continue }
      found.append(try (0..<4).map { (index) throws(Errno) in try number(at: first + 8 * index) })
    }
    return found
  }

  /// Promises room to this process.
  ///
  /// - Parameters:
  ///   - count: bytes.
  ///   - free: what the disk has.
  /// - Returns: bytes that must go first; none where the room is promised.
  /// - Throws: `Errno`.
  func reserve(_ count: Int64, free: Int64) throws(Errno) -> Shortfall {
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    return try reserveLocked(count, free: free)
  }

  /// The same for who has the lock.
  func reserveLocked(_ count: Int64, free: Int64) throws(Errno) -> Shortfall {
    let balance = try balanceLocked()
    let short = balance.limits.shortfall(count, used: balance.used, free: free - balance.promised)
    if short.isNone { try change(used: balance.used + count, promised: count) }
    return short
  }

  /// Notes that promised bytes are on the disk.
  func settle(_ count: Int64) throws(Errno) {
    guard count > 0 else { return }
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    try change(used: nil, promised: -count)
  }

  /// The same for who has the lock.
  func settleLocked(_ count: Int64) throws(Errno) { try change(used: nil, promised: -count) }

  /// Gives back what was promised and did not come.
  func release(_ count: Int64) throws(Errno) {
    guard count > 0 else { return }
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    try change(used: max(0, try number(at: 8) - count), promised: -count)
  }

  /// Notes bytes that came without a promise, or went.
  func add(_ count: Int64) throws(Errno) {
    guard count != 0 else { return }
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    try change(used: max(0, try number(at: 8) + count), promised: 0)
  }

  /// Counts what is there, by the pool's folders: after crashes, and after other programs removed something.
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
