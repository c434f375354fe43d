package import Content
import Glibc
package import Logging
package import OCI
import Locking
import SystemPackage
package import Telemetry
import Disk

/// Keeps the blobs of a root within the space limits.
///
/// Space is reserved in the ledger before bytes are requested. If space is short, the least recently used
/// blobs are evicted.
package final class CacheSpace: Sendable {
  /// Runs blocking disk operations of this class, separate from the executor that opens files.
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
    /// When the pool's directories were last scanned to correct the ledger.
    var counted: ContinuousClock.Instant?
    /// The evictable blobs, and when they were last determined.
    var freeable: (at: ContinuousClock.Instant, candidates: [EvictionPlan.Candidate])?
    /// When the lack of space was last logged.
    var reported: ContinuousClock.Instant?
    /// Whether a reservation has succeeded since then.
    var hadRoom = true
  }

  /// Creates the space keeper of a root.
  ///
  /// - Parameters:
  ///   - root: The local registry.
  ///   - pool: The blobs of the root.
  ///   - ledger: The space used and reserved by all processes.
  ///   - hasLayout: Returns whether the root has an oci-dir for a reference.
  ///   - metrics: Counts evictions.
  ///   - log: Receives a warning when space runs out.
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

  // After a refusal, further reservations are refused at once for 20 times as long as the survey took, so
  // that at
  // most about a twentieth of the time is spent on surveys.
  private static let refusalFactor = 20
  private static let longestRefusal: Duration = .seconds(1)
  private static let countMemory: Duration = .seconds(1)
  // A cache at its limit alternates quickly between having space and having none.
  private static let reportInterval: Duration = .seconds(60)

  // Allocated sizes are multiples of disk pages. Without rounding, each evicted blob would leave a remainder
  // in the ledger.
  private static func onDisk(_ count: Int64) -> Int64 { (count + 4095) / 4096 * 4096 }

  /// Reserves space for this process, evicting blobs as needed.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameter count: The number of bytes.
  /// - Throws: `ContentError` with `isDiskFull` set if there is not enough space.
  package func reserve(_ count: Int64) throws(ContentError) {
    guard count > 0 else { return }
    let count = Self.onDisk(count)
    guard try !reserveNow(count) else { return }
    if let until = state.withLock({ $0.refusedUntil }), until > .now { throw try noRoom(count) }
    let start = ContinuousClock.now
    do throws(Errno) {
      // Only one process evicts at a time: two would evict twice the bytes needed.
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

  /// Evicts blobs until `shortfall` returns none; the caller holds the eviction lock.
  ///
  /// - Parameter shortfall: Returns the bytes that must be freed, and reserves the space once there are none.
  /// - Returns: Whether there is enough space now.
  /// - Throws: `Errno`.
  private func evict(until shortfall: () throws(Errno) -> Shortfall) throws(Errno) -> Bool {
    // Two rounds: freed bytes may be accounted for with a delay, or never (snapshots).
    for _ in 0..<2 {
      let short = try shortfall()
      if short.isNone { return true }
      let plan = EvictionPlan(try survey(), needed: short)
      // If evicting everything evictable is not enough, nothing is evicted.
      guard plan.freed >= short.total else { return false }
      var freed: Int64 = 0
      for candidate in plan.evicted { freed += try evict(candidate) }
      if freed == 0 { return false }
    }
    return try shortfall().isNone
  }

  /// Logs that bytes are served without being cached because space is short: at most once a minute, and only
  /// once until a reservation succeeds again.
  ///
  /// - Parameter error: The refusal of the reservation.
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
      "the local registry has no space left: bytes are served without being cached",
      metadata: ["root": "\(root.path)", "reason": "\(error)"]
    )
  }

  /// Reserves space if it is available, without evicting.
  ///
  /// - Parameter count: The number of bytes.
  /// - Returns: Whether the space was reserved.
  /// - Throws: `ContentError` of code `disk`.
  package func reserveNow(_ count: Int64) throws(ContentError) -> Bool {
    guard count > 0 else { return true }
    let count = Self.onDisk(count)
    do throws(Errno) {
      return try ledger.reserve(count, free: try Disk.freeBytes(root.path)).isNone
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }

  /// Reserves space if it is available, without evicting and without waiting for another process.
  ///
  /// - Parameter count: The number of bytes.
  /// - Returns: False if there is not enough space, or another process holds the lock of the ledger.
  /// - Throws: `ContentError` of code `disk`.
  package func reserveAtOnce(_ count: Int64) throws(ContentError) -> Bool {
    do throws(Errno) {
      let short = try ledger.reserveIfFree(Self.onDisk(count), free: try Disk.freeBytes(root.path))
      return short?.isNone ?? false
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }

  /// Evicts blobs so that a file outside the cache, such as an archive, fits without going below the free
  /// space to leave.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameter count: The size of the file in bytes.
  /// - Throws: `ContentError` with `isDiskFull` set if there is not enough space.
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

  /// Settles reserved bytes that are now on the disk, unless another process holds the lock of the ledger.
  ///
  /// - Parameter count: The number of bytes.
  /// - Returns: Whether the ledger was updated.
  package func settleAtOnce(_ count: Int64) -> Bool {
    do {
      return try ledger.settleIfFree(count)
    } catch {
      // The caller notes it again with the next bytes; a count puts right what is never noted.
      return false
    }
  }

  /// Settles a reservation: written bytes become used, the remainder is released.
  ///
  /// - Parameters:
  ///   - promised: Bytes that were reserved.
  ///   - kept: Bytes that are on the disk now.
  package func settle(promised: Int64, kept: Int64) {
    let (promised, kept) = (Self.onDisk(promised), Self.onDisk(kept))
    // The next recount corrects an update that failed.
    try? ledger.settle(min(promised, kept))
    try? ledger.release(max(0, promised - kept))
    try? ledger.add(max(0, kept - promised))
  }

  /// Notes that bytes that were settled as kept are not on the disk any more.
  ///
  /// - Parameter count: The number of bytes.
  package func noteRemoved(_ count: Int64) {
    // The next recount corrects an update that failed.
    try? ledger.add(-Self.onDisk(count))
  }

  /// Whether `count` more bytes would fit if every unprotected blob were evicted; always true without limits.
  ///
  /// - Parameter count: The number of bytes.
  /// - Throws: `ContentError` of code `disk`.
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

  /// Returns the bytes of pulled artifacts that `evict` could free; they are not evicted for the default
  /// limit.
  ///
  /// - Throws: `ContentError` of code `disk`.
  package func pulledBytes() throws(ContentError) -> Int64 {
    do throws(Errno) {
      return try survey().reduce(0) { $0 + ($1.protection == nil && $1.isPulled ? $1.size : 0) }
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }

  /// Whether the disk has less free space than weightfs leaves by default; false if `--min-free` is set.
  package var isBelowDefault: Bool {
    guard let limits = try? ledger.balance().limits, limits.defaultFree > 0,
      let free = try? Disk.freeBytes(root.path)
    else { return false }
    return free < limits.defaultFree
  }

  /// Replaces the limits of this process; they apply to the next reservation.
  ///
  /// - Throws: `ContentError` of code `disk`.
  package func setLimits(_ limits: SpaceLimits) throws(ContentError) {
    do throws(Errno) {
      try ledger.setLimits(limits)
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
    state.withLock { ($0.refusedUntil, $0.freeable) = (nil, nil) }
  }

  /// Returns the bytes used according to the ledger, and the strictest limits of all processes.
  ///
  /// - Throws: `ContentError` of code `disk`.
  package func current() throws(ContentError) -> (used: Int64, limits: SpaceLimits) {
    do throws(Errno) {
      let balance = try ledger.balance()
      return (balance.used, balance.limits)
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }

  /// Recounts the used space.
  ///
  /// - Returns: The bytes used, and the strictest limits of all processes.
  /// - Throws: `ContentError` of code `disk`.
  package func usage() throws(ContentError) -> (used: Int64, limits: SpaceLimits) {
    do throws(Errno) {
      try ledger.count()
      let balance = try ledger.balance()
      return (balance.used, balance.limits)
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }

  /// Returns the error for a blob for which not even an empty file could be created.
  ///
  /// - Parameter count: The number of bytes that cannot be cached.
  /// - Returns: An error of code `disk` that names the used space and the limits.
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
    var words = "not enough space for \(count) bytes: \(used) bytes are used"
    if let limit = limits.cacheLimit { words += " of the limit of \(limit)" }
    let free = max(limits.minimumFree, limits.defaultFree)
    if free > 0 { words += ", \(free) bytes of the disk must stay free" }
    return ContentError(
      .disk,
      "\(root.path)",
      words + ", and the remaining blobs are open, pinned or cannot be fetched again",
      advice:
        "Raise --cache-limit, lower --min-free, evict, unpin or remove artifacts; 'weightfs gc --dry-run' lists candidates",
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

  /// Records a use of a blob.
  package func touch(_ digest: Digest) { references.touch(digest) }
}
