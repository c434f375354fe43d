package import Content
import Glibc
package import Logging
package import OCI
import Locking
import SystemPackage
package import Telemetry
import Disk

/// Keeps the blobs of a root within their limits: room is promised before bytes are asked for, and what was not used for
/// the longest time goes to make it.
package final class CacheSpace: Sendable {
  /// Runs what waits for the disk here, apart from those who open files.
  package let executor = BlockingExecutor(label: "weightfs.space", threads: 2)
  let root: RegistryRoot
  let pool: BlobPool
  let ledger: SpaceLedger
  let hasLayout: @Sendable (Reference) -> Bool
  let references: BlobReferences
  let pins: Pins
  let metrics: Metrics
  let log: Logger
  private let state = Mutex(State())

  private struct State {
    var refusedUntil: ContinuousClock.Instant?
    /// What was last counted by the folders.
    var counted: ContinuousClock.Instant?
    /// What could go, when that was last looked at.
    var freeable: (at: ContinuousClock.Instant, candidates: [EvictionPlan.Candidate])?
    /// When it was last told that there is no room.
    var reported: ContinuousClock.Instant?
    /// There was room since.
    var hadRoom = true
  }

  /// Makes the keeper of a root's limits.
  ///
  /// - Parameters:
  ///   - root: of the local registry.
  ///   - pool: its blobs.
  ///   - ledger: the space that all processes use and have reserved.
  ///   - hasLayout: whether the root has an oci-dir of a reference.
  ///   - metrics: counts evictions.
  ///   - log: names a cache that has no room.
  package init(
    root: RegistryRoot,
    pool: BlobPool,
    ledger: SpaceLedger,
    hasLayout: @escaping @Sendable (Reference) -> Bool,
    metrics: Metrics,
    log: Logger
  ) {
    self.root = root
    self.hasLayout = hasLayout
    self.pool = pool
    self.ledger = ledger
    self.metrics = metrics
    self.log = log
    references = BlobReferences(root: root)
    pins = Pins(root: root)
  }

  // Who was refused a moment ago is refused again without looking at every blob: a twentieth of the time is spent on it.
  private static let refusalFactor = 20
  private static let longestRefusal: Duration = .seconds(1)
  private static let countMemory: Duration = .seconds(1)
  // A cache at its limit has room and has none by turns.
  private static let reportInterval: Duration = .seconds(60)

  // What a file takes comes in pages of the disk: counted otherwise, each blob that comes and goes would leave some behind.
  private static func onDisk(_ count: Int64) -> Int64 { (count + 4095) / 4096 * 4096 }

  /// Promises room to this process, evicting what it takes.
  ///
  /// Blocks.
  ///
  /// - Parameter count: bytes.
  /// - Throws: `ContentError` that is `isDiskFull` where there is none.
  package func reserve(_ count: Int64) throws(ContentError) {
    guard count > 0 else { return }
    let count = Self.onDisk(count)
    guard try !reserveNow(count) else { return }
    if let until = state.withLock({ $0.refusedUntil }), until > .now { throw try noRoom(count) }
    let start = ContinuousClock.now
    do throws(Errno) {
      // One at a time evicts, over all processes: two would take twice what is needed.
      let lock = try FileLock(waitingFor: root.locks.appending("evict"))
      defer { withExtendedLifetime(lock) {} }
      try countIfOld()
      let hasRoom = try evict { () throws(Errno) in
        try ledger.reserve(count, free: try Disk.freeBytes(root.path))
      }
      if hasRoom {
        state.withLock { $0.hadRoom = true }
        return
      }
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
    let memory = min((ContinuousClock.now - start) * Self.refusalFactor, Self.longestRefusal)
    state.withLock { $0.refusedUntil = .now + memory }
    throw try noRoom(count)
  }

  /// Evicts until nothing is short any more, for who has the lock of evictions.
  ///
  /// - Parameter shortfall: tells the bytes that must go, and takes the room once there are none.
  /// - Returns: whether there is room.
  /// - Throws: `Errno`.
  private func evict(until shortfall: () throws(Errno) -> Shortfall) throws(Errno) -> Bool {
    // Twice: what was freed may be counted only a moment later, and may never be (snapshots).
    for _ in 0..<2 {
      let short = try shortfall()
      if short.isNone { return true }
      let plan = EvictionPlan(try survey(), needed: short)
      // What does not suffice is not evicted for nothing.
      guard plan.freed >= short.total else { return false }
      var freed: Int64 = 0
      for candidate in plan.evicted { freed += try evict(candidate) }
      if freed == 0 { return false }
    }
    return try shortfall().isNone
  }

  /// Tells once that bytes are not kept for want of room, and again after there was some.
  ///
  /// - Parameter error: what happened.
  package func report(_ error: ContentError) {
    metrics.refusedSpace.add()
    let isNews = state.withLock { state in
      let isOld = state.reported.map { .now - $0 > Self.reportInterval } ?? true
      guard state.hadRoom, isOld else { return false }
      (state.reported, state.hadRoom) = (.now, false)
      return true
    }
    guard isNews else { return }
    log.warning(
      "the local registry has no room: bytes are served without being kept",
      metadata: ["root": "\(root.path)", "reason": "\(error)"]
    )
  }

  /// Promises room if there is some, evicting nothing.
  ///
  /// - Parameter count: bytes.
  /// - Returns: whether it is promised.
  /// - Throws: `ContentError`.
  package func reserveNow(_ count: Int64) throws(ContentError) -> Bool {
    guard count > 0 else { return true }
    let count = Self.onDisk(count)
    do throws(Errno) {
      return try ledger.reserve(count, free: try Disk.freeBytes(root.path)).isNone
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }

  /// The same, without waiting for other processes.
  ///
  /// - Parameter count: bytes.
  /// - Returns: false where there is no room, or somebody else is at the ledger.
  /// - Throws: `ContentError`.
  package func reserveAtOnce(_ count: Int64) throws(ContentError) -> Bool {
    do throws(Errno) {
      let short = try ledger.reserveIfFree(Self.onDisk(count), free: try Disk.freeBytes(root.path))
      return short?.isNone ?? false
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }

  /// Makes room for a file that is not the cache's, such as an archive: what is to stay free on the disk stays so.
  ///
  /// Blocks.
  ///
  /// - Parameter count: bytes.
  /// - Throws: `ContentError` that is `isDiskFull` where there is none.
  package func makeRoom(_ count: Int64) throws(ContentError) {
    do throws(Errno) {
      let lock = try FileLock(waitingFor: root.locks.appending("evict"))
      defer { withExtendedLifetime(lock) {} }
      let hasRoom = try evict { () throws(Errno) in
        let balance = try ledger.balance()
        var limits = balance.limits
        limits.cacheLimit = nil
        return limits.shortfall(count, used: 0, free: try Disk.freeBytes(root.path) - balance.reserved)
      }
      if hasRoom { return }
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
    throw try noRoom(count)
  }

  /// Notes that promised bytes are on the disk, if nobody else is at the ledger.
  ///
  /// - Parameter count: bytes.
  /// - Returns: whether it was noted.
  package func settleAtOnce(_ count: Int64) -> Bool {
    do {
      return try ledger.settleIfFree(count)
    } catch {
      // The caller notes it again with the next bytes; a count puts right what is never noted.
      return false
    }
  }

  /// Notes what became of a promise.
  ///
  /// - Parameters:
  ///   - promised: bytes.
  ///   - kept: bytes that are on the disk now.
  package func settle(promised: Int64, kept: Int64) {
    let (promised, kept) = (Self.onDisk(promised), Self.onDisk(kept))
    // What cannot be noted is put right by the next count.
    try? ledger.settle(min(promised, kept))
    try? ledger.release(max(0, promised - kept))
    try? ledger.add(max(0, kept - promised))
  }

  /// Whether so much more could be kept if everything went that may.
  ///
  /// - Parameter count: bytes.
  /// - Returns: true if so, and always without limits.
  /// - Throws: `ContentError`.
  package func couldHold(_ count: Int64) throws(ContentError) -> Bool {
    guard count > 0 else { return true }
    do throws(Errno) {
      let balance = try ledger.balance()
      let free = try Disk.freeBytes(root.path)
      let short = balance.limits.shortfall(count, used: balance.used, free: free - balance.reserved)
      guard !short.isNone else { return true }
      let now = ContinuousClock.now
      let candidates: [EvictionPlan.Candidate]
      if let known = state.withLock({ $0.freeable }), now - known.at < Self.countMemory {
        candidates = known.candidates
      } else {
        candidates = try survey()
        state.withLock { $0.freeable = (now, candidates) }
      }
      return EvictionPlan(candidates, needed: short).freed >= short.total
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }

  /// Bytes of pulled artifacts that `evict` could free, beside what goes by itself.
  ///
  /// - Throws: `ContentError`.
  package func pulledBytes() throws(ContentError) -> Int64 {
    do throws(Errno) {
      return try survey().reduce(0) { $0 + ($1.protection == nil && $1.isPulled ? $1.size : 0) }
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }

  /// Whether the disk has less free than is to be left by default, which nobody set.
  package var isBelowDefault: Bool {
    guard let limits = try? ledger.balance().limits, limits.defaultFree > 0,
      let free = try? Disk.freeBytes(root.path)
    else { return false }
    return free < limits.defaultFree
  }

  /// How much room there is, in words and numbers.
  ///
  /// - Returns: bytes used, and the limits in force over all processes.
  /// - Throws: `ContentError`.
  package func usage() throws(ContentError) -> (used: Int64, limits: SpaceLimits) {
    do throws(Errno) {
      try ledger.count()
      let balance = try ledger.balance()
      return (balance.used, balance.limits)
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }

  /// Why bytes are not kept of a blob for which not even an empty file could be made.
  ///
  /// - Parameter count: bytes.
  /// - Returns: a `disk` error with the space that is left.
  package func refusal(_ count: Int64) -> ContentError {
    if let error = try? noRoom(count) { return error }
    return ContentError(.disk, "\(root.path)", Errno.noSpace)
  }

  private func noRoom(_ count: Int64) throws(ContentError) -> ContentError {
    let (limits, used): (SpaceLimits, Int64)
    do throws(Errno) {
      let balance = try ledger.balance()
      (limits, used) = (balance.limits, balance.used)
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
    var words = "there is no room for \(count) bytes: \(used) bytes are used"
    if let limit = limits.cacheLimit { words += " of the limit of \(limit)" }
    let free = max(limits.minimumFree, limits.defaultFree)
    if free > 0 { words += ", \(free) of the disk are to stay free" }
    return ContentError(
      .disk,
      "\(root.path)",
      words + ", and what is left is open, pinned or not to be had again",
      advice:
        "Raise --cache-limit, lower --min-free, evict, unpin or remove artifacts; 'weightfs gc --dry-run' lists what may go",
      isDiskFull: true
    )
  }

  private func countIfOld() throws(Errno) {
    let now = ContinuousClock.now
    let isOld = state.withLock { state in
      let isOld = state.counted.map { now - $0 > Self.countMemory } ?? true
      if isOld { state.counted = now }
      return isOld
    }
    if isOld { try ledger.count() }
  }

  /// Notes a use of a blob.
  ///
  /// - Parameter digest: of the blob.
  package func touch(_ digest: Digest) { references.touch(digest) }
}
