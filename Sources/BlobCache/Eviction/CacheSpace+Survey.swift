package import Content
import Glibc
import Logging
package import OCI
import Locking
package import SystemPackage
import Telemetry
import Disk

/// What may go to make room, and what goes.
extension CacheSpace {
  /// Every blob that is worth being evicted, and why others must stay.
  ///
  /// Reads the pool's folders and the files of what lies in them; not the tree.
  ///
  /// - Returns: in no order.
  /// - Throws: `Errno`.
  package func survey() throws(Errno) -> [EvictionPlan.Candidate] {
    var found: [EvictionPlan.Candidate] = []
    var standings: [Reference: Standing] = [:]
    for algorithm in Digest.Algorithm.allCases {
      for (folder, isPartial) in [(root.blobs(algorithm), false), (root.partials(algorithm), true)] {
        for name in try Disk.names(in: folder) {
          guard let digest = Digest(algorithm: algorithm, hex: name[...]) else { continue }
          let size = Disk.allocatedBytes(folder.appending(name))
          // Manifests and configs are small, and an artifact is nothing without them.
          guard size >= BlobPool.smallestLink else { continue }
          found.append(candidate(digest, isPartial, size, &standings))
        }
      }
    }
    return found
  }

  /// The same for some blobs, of whatever size.
  ///
  /// - Parameter digests: of blobs; one that is not here is left out.
  /// - Returns: in no order.
  package func examine(_ digests: Set<Digest>) -> [EvictionPlan.Candidate] {
    var standings: [Reference: Standing] = [:]
    return digests.flatMap { digest in
      [(root.blob(digest), false), (root.partial(digest), true)].compactMap { path, isPartial in
        let size = Disk.allocatedBytes(path)
        return size > 0 ? candidate(digest, isPartial, size, &standings) : nil
      }
    }
  }

  // What is loaded has its blobs before its layout.
  private static let recent: Int64 = 600_000_000_000

  private enum Standing {
    case gone, fetched, pulled, pinned, final
  }

  private func candidate(
    _ digest: Digest,
    _ isPartial: Bool,
    _ size: Int64,
    _ standings: inout [Reference: Standing]
  ) -> EvictionPlan.Candidate {
    let lastUse = references.lastUse(digest)
    var protection: EvictionPlan.Protection? = lastUse == nil ? .unknown : nil
    var isWanted = false
    var isPulled = false
    let known = references.known(of: digest)
    if known == nil { protection = .unknown }
    for reference in known ?? [] {
      let standing = standings[reference] ?? standing(reference)
      standings[reference] = standing
      switch standing {
      case .gone: break
      case .fetched: isWanted = true
      case .pulled: (isWanted, isPulled) = (true, true)
      case .pinned: protection = .pinned
      case .final: protection = protection ?? .final
      }
    }
    // An artifact on its way has its lines before its layout; what was left by all has none.
    if protection == nil, !isWanted, known?.isEmpty == false, RealTime.now - (lastUse ?? 0) < Self.recent {
      protection = .recent
    }
    if protection == nil, pool.isOpen(digest, isPartial: isPartial) { protection = .open }
    return EvictionPlan.Candidate(
      digest: digest,
      isPartial: isPartial,
      size: size,
      lastUse: isWanted ? lastUse ?? 0 : 0,
      protection: protection,
      isPulled: isPulled
    )
  }

  private func standing(_ reference: Reference) -> Standing {
    let hasLayout = hasLayout(reference)
    let record = OriginRecord.read(root, reference)
    let isFetched = isFetched(reference, record, hasLayout: hasLayout)
    guard hasLayout || isFetched else { return .gone }
    if pins.contains(reference) { return .pinned }
    guard isFetched else { return .final }
    // Earlier versions did not note it: what may have been pulled counts as pulled.
    return record?.isPulled ?? true ? .pulled : .fetched
  }

  /// weightfs fetched it, and nobody put something else in its place since.
  private func isFetched(_ reference: Reference, _ record: OriginRecord?, hasLayout: Bool) -> Bool {
    guard let record else { return false }
    guard hasLayout else { return true }
    let index = root.layout(reference).appending("index.json")
    guard let text = try? Disk.contents(of: index, limit: Index.maximumSize) else { return false }
    return [record.digest, record.previous].compactMap { $0 }.contains {
      text.firstRange(of: Array($0.hex.utf8)) != nil
    }
  }

  /// Whether a blob may still go: an artifact of it may have become final, or been pinned, since it was chosen.
  private func mayGo(_ digest: Digest, isPartial: Bool) -> Bool {
    var standings: [Reference: Standing] = [:]
    return candidate(digest, isPartial, 0, &standings).protection == nil
  }

  /// Evicts one blob: out of the layouts of its references, then out of the pool.
  ///
  /// - Parameter candidate: that need not stay.
  /// - Returns: bytes that are free now; 0 where it was opened in the meantime.
  /// - Throws: `Errno`.
  package func evict(_ candidate: EvictionPlan.Candidate) throws(Errno) -> Int64 {
    let layouts = references.references(of: candidate.digest).map { root.layout($0) }
    let freed =
      candidate.isPartial
      ? try pool.evictPartial(candidate.digest) { self.mayGo(candidate.digest, isPartial: true) }
      : try pool.evict(candidate.digest, from: layouts) { self.mayGo(candidate.digest, isPartial: false) }
    guard freed > 0 else { return 0 }
    metrics.evictedBlobs.add()
    metrics.evictedBytes.add(UInt64(freed))
    log.info(
      "a blob was evicted",
      metadata: ["blob": "\(candidate.digest)", "bytes": "\(freed)"]
    )
    return freed
  }

  /// Evicts until the limits hold.
  ///
  /// - Parameter dryRun: only tells.
  /// - Returns: what went, or would go.
  /// - Throws: `ContentError`.
  package func enforce(dryRun: Bool) throws(ContentError) -> [EvictionPlan.Candidate] {
    do throws(Errno) {
      let lock = try FileLock(waitingFor: root.locks.appending("evict"))
      defer { withExtendedLifetime(lock) {} }
      try ledger.count()
      let balance = try ledger.balance()
      let free = try Disk.freeBytes(root.path)
      let short = balance.limits.shortfall(0, used: balance.used, free: free - balance.reserved)
      let plan = EvictionPlan(try survey(), needed: short)
      guard !dryRun else { return plan.evicted }
      var evicted: [EvictionPlan.Candidate] = []
      for candidate in plan.evicted where try evict(candidate) > 0 { evicted.append(candidate) }
      return evicted
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }
}
