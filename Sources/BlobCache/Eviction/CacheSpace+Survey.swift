package import Content
import Glibc
import Logging
package import OCI
import Locking
package import SystemPackage
import Telemetry
import Disk

/// Selection and eviction of blobs.
extension CacheSpace {
  /// Returns every blob of at least 64 KiB in the pool, with the reason that protects it from eviction, if
  /// any.
  ///
  /// Scans only the pool's directories and the reference records of the blobs found there, not the tree of
  /// layouts. The order is undefined.
  ///
  /// - Throws: `Errno` if a directory of the pool cannot be read.
  package func survey() throws(Errno) -> [EvictionPlan.Candidate] {
    var found: [EvictionPlan.Candidate] = []
    var standings: [Reference: Standing] = [:]
    for algorithm in Digest.Algorithm.allCases {
      for (folder, isPartial) in [(root.blobs(algorithm), false), (root.partials(algorithm), true)] {
        for name in try Disk.names(in: folder) {
          guard let digest = Digest(algorithm: algorithm, hex: name[...]) else { continue }
          let size = Disk.allocatedBytes(folder.appending(name))
          // Manifests and configs are small, and an artifact is unusable without them.
          guard size >= BlobPool.smallestLink else { continue }
          found.append(candidate(digest, isPartial, size, &standings))
        }
      }
    }
    return found
  }

  /// Returns the same as `survey()` for some blobs, regardless of their size; absent blobs are skipped.
  package func examine(_ digests: Set<Digest>) -> [EvictionPlan.Candidate] {
    var standings: [Reference: Standing] = [:]
    return digests.flatMap { digest in
      [(root.blob(digest), false), (root.partial(digest), true)].compactMap { path, isPartial in
        let size = Disk.allocatedBytes(path)
        return size > 0 ? candidate(digest, isPartial, size, &standings) : nil
      }
    }
  }

  // Nanoseconds. An artifact that is being loaded has its blobs before its layout.
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
      // A blob that was decompressed can be decompressed again, also if its layer cannot be fetched again; unless
      // the artifact has the blob itself, as its own layer.
      case .final where UnpackedRecord.isUnpacked(digest, root) && !hasItself(reference, digest):
        (isWanted, isPulled) = (true, true)
      case .final: protection = protection ?? .final
      }
    }
    // The references of an artifact that is being fetched are recorded before its layout is written; a blob
    // that
    // lost its last reference has an empty record.
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

  private func hasItself(_ reference: Reference, _ digest: Digest) -> Bool {
    Disk.exists(root.layout(reference).appending(digest.layoutPath))
  }

  private func standing(_ reference: Reference) -> Standing {
    let hasLayout = hasLayout(reference)
    let record = OriginRecord.read(root, reference)
    let isFetched = isFetched(reference, record, hasLayout: hasLayout)
    guard hasLayout || isFetched else { return .gone }
    if pins.contains(reference) { return .pinned }
    guard isFetched else { return .final }
    // Records of earlier versions lack the flag: an artifact that may have been pulled counts as pulled.
    return record?.isPulled ?? true ? .pulled : .fetched
  }

  /// Whether weightfs fetched the artifact, and no other program has replaced it since.
  private func isFetched(_ reference: Reference, _ record: OriginRecord?, hasLayout: Bool) -> Bool {
    guard let record else { return false }
    guard hasLayout else { return true }
    let index = root.layout(reference).appending("index.json")
    // An index that cannot be read names no blob.
    guard let text = try? Disk.contents(of: index, limit: Index.maximumSize) else { return false }
    return [record.digest, record.previous].compactMap { $0 }.contains {
      text.firstRange(of: Array($0.hex.utf8)) != nil
    }
  }

  /// Whether a blob is still unprotected; since it was selected, an artifact of it may have become final or
  /// pinned.
  private func mayGo(_ digest: Digest, isPartial: Bool) -> Bool {
    var standings: [Reference: Standing] = [:]
    return candidate(digest, isPartial, 0, &standings).protection == nil
  }

  /// Evicts one blob: removes it from the layouts of its references, then from the pool.
  ///
  /// - Parameter candidate: A candidate without protection.
  /// - Returns: The number of bytes freed; 0 if the blob was opened or became protected in the meantime.
  /// - Throws: `Errno` if a file cannot be removed.
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
      "blob evicted",
      metadata: ["blob": "\(candidate.digest)", "bytes": "\(freed)"]
    )
    return freed
  }

  /// Evicts blobs until the limits hold.
  ///
  /// - Parameter dryRun: Only selects the blobs, without evicting them.
  /// - Returns: The blobs that were evicted, or would be.
  /// - Throws: `ContentError` of code `disk`.
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
