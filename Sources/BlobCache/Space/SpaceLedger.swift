import Disk
import Locking
import OCI
package import SystemPackage

/// How much space the blobs of a root use, and how much is reserved, over all processes that write there
/// (docs/local-registry.md, "Space").
///
/// The numbers are in a file (`SpaceFile`) under the lock `locks/space`, which also orders the threads of this process.
/// A root that was removed and made again has a new file: it is opened at the next call, and what this process has
/// reserved is entered there. A recount scans only the pool's directories, when space is short.
package final class SpaceLedger: Sendable {
  /// The numbers of a ledger.
  struct Balance: Equatable {
    var used: Int64
    var reserved: Int64
    var limits: SpaceLimits
  }

  private struct State {
    var file: SpaceFile
    /// The limits of this process.
    var limits: SpaceLimits
    /// Bytes that this process has reserved.
    var reserved: Int64 = 0
  }

  private let root: RegistryRoot
  // Written only under `locks/space`.
  private let state: Mutex<State>

  /// Opens the ledger, and takes a slot in it.
  ///
  /// - Throws: `Errno`; `tooManyOpenFiles` where 256 processes use the root.
  package init(root: RegistryRoot, limits: SpaceLimits) throws(Errno) {
    self.root = root
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    let file = try SpaceFile(root.space, limits: limits, reserved: 0)
    state = Mutex(State(file: file, limits: limits))
    if file.isNew { try recount(file) }
  }

  // MARK: Operations

  /// Replaces the limits of this process.
  func setLimits(_ limits: SpaceLimits) throws(Errno) {
    try locked { (file) throws(Errno) in
      state.withLock { $0.limits = limits }
      try file.setLimits(limits)
    }
  }

  /// The space used and reserved, and the limits in force.
  func balance() throws(Errno) -> Balance {
    try locked { (file) throws(Errno) in try balance(file) }
  }

  /// Reserves space for this process.
  ///
  /// - Parameters:
  ///   - count: bytes.
  ///   - free: bytes that the disk has free.
  /// - Returns: bytes that must be evicted first; none where the space is reserved.
  func reserve(_ count: Int64, free: Int64) throws(Errno) -> Shortfall {
    try locked { (file) throws(Errno) in try reserve(count, free: free, file) }
  }

  /// Reserves space, without waiting for another holder of the lock.
  ///
  /// - Returns: nil where another thread or process holds the lock.
  func reserveIfFree(_ count: Int64, free: Int64) throws(Errno) -> Shortfall? {
    try lockedIfFree { (file) throws(Errno) in try reserve(count, free: free, file) }
  }

  /// Notes that reserved bytes are on the disk.
  func settle(_ count: Int64) throws(Errno) {
    guard count > 0 else { return }
    try locked { (file) throws(Errno) in try change(file, reserved: -count) }
  }

  /// Notes that reserved bytes are on the disk, without waiting for another holder of the lock.
  ///
  /// - Returns: false where another thread or process holds the lock.
  func settleIfFree(_ count: Int64) throws(Errno) -> Bool {
    try lockedIfFree { (file) throws(Errno) in try change(file, reserved: -count) } != nil
  }

  /// Releases reserved bytes that were not written.
  func release(_ count: Int64) throws(Errno) {
    guard count > 0 else { return }
    try locked { (file) throws(Errno) in
      try file.setUsed(max(0, try file.used() - count))
      try change(file, reserved: -count)
    }
  }

  /// Notes bytes that were written without a reservation, or removed.
  func add(_ count: Int64) throws(Errno) {
    guard count != 0 else { return }
    try locked { (file) throws(Errno) in try file.setUsed(max(0, try file.used() + count)) }
  }

  /// Removes a file of the pool and subtracts its bytes; a recount in another thread or process sees both changes or
  /// neither.
  ///
  /// - Returns: The number of bytes freed; 0 if the file is absent.
  /// - Throws: `Errno`.
  func remove(_ path: FilePath) throws(Errno) -> Int64 {
    try locked { (file) throws(Errno) in
      let size = Disk.allocatedBytes(path)
      try Disk.remove(path)
      if size > 0 { try file.setUsed(max(0, try file.used() - size)) }
      return size
    }
  }

  /// Counts the bytes in the pool's directories: after crashes, and after other programs removed files.
  func count() throws(Errno) {
    try locked { (file) throws(Errno) in try recount(file) }
  }

  // MARK: Under the lock

  private func balance(_ file: SpaceFile) throws(Errno) -> Balance {
    let (reserved, limits) = state.withLock { ($0.reserved, $0.limits) }
    var balance = Balance(used: try file.used(), reserved: reserved, limits: limits)
    for other in try file.others() {
      balance.reserved += other.reserved
      balance.limits = balance.limits.stricter(other.limits)
    }
    return balance
  }

  private func reserve(_ count: Int64, free: Int64, _ file: SpaceFile) throws(Errno) -> Shortfall {
    let balance = try balance(file)
    let short = balance.limits.shortfall(count, used: balance.used, free: free - balance.reserved)
    if short.isNone {
      try file.setUsed(balance.used + count)
      try change(file, reserved: count)
    }
    return short
  }

  private func change(_ file: SpaceFile, reserved: Int64) throws(Errno) {
    guard reserved != 0 else { return }
    let own = state.withLock { state in
      state.reserved = max(0, state.reserved + reserved)
      return state.reserved
    }
    try file.setReserved(own)
  }

  private func recount(_ file: SpaceFile) throws(Errno) {
    var used = state.withLock { $0.reserved }
    for other in try file.others() { used += other.reserved }
    // A blob that is committed moves from `partial` to `blobs` during the count, and one that is repaired moves back:
    // with `partial` first and last, one move is never missed. A blob with both names is one file.
    var counted: Set<UInt64> = []
    for directory in Digest.Algorithm.allCases.flatMap({
      [root.partials($0), root.blobs($0), root.partials($0)]
    }) {
      for name in try Disk.names(in: directory) {
        guard let file = Disk.allocation(directory.appending(name)) else { continue }
        if counted.insert(file.inode).inserted { used += file.bytes }
      }
    }
    try file.setUsed(used)
  }

  private func locked<Value>(_ body: (SpaceFile) throws(Errno) -> Value) throws(Errno) -> Value {
    let lock = try FileLock(waitingFor: root.locks.appending("space"))
    defer { withExtendedLifetime(lock) {} }
    return try body(try currentFile())
  }

  private func lockedIfFree<Value>(_ body: (SpaceFile) throws(Errno) -> Value) throws(Errno) -> Value? {
    guard let lock = try FileLock(trying: root.locks.appending("space")) else { return nil }
    defer { withExtendedLifetime(lock) {} }
    return try body(try currentFile())
  }

  /// The file that the root has now.
  private func currentFile() throws(Errno) -> SpaceFile {
    let (known, reserved, limits) = state.withLock { ($0.file, $0.reserved, $0.limits) }
    if known.isCurrent(at: root.space) { return known }
    let file = try SpaceFile(root.space, limits: limits, reserved: reserved)
    state.withLock { $0.file = file }
    if file.isNew { try recount(file) }
    return file
  }
}
