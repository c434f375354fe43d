package import OCI

/// Which blobs go when room is short: those that were not used for the longest time, and none that must stay.
package struct EvictionPlan: Sendable {
  /// A blob or partial blob of the pool.
  package struct Candidate: Sendable, Equatable {
    package let digest: Digest
    package let isPartial: Bool
    /// On the disk, bytes.
    package let size: Int64
    /// Nanoseconds since 1970; 0 for one that no artifact has any more.
    package let lastUse: Int64
    /// Why it must stay, if it must.
    package let protection: Protection?
    /// An artifact of it was pulled: it goes only for a limit that somebody set.
    package let isPulled: Bool

    /// Describes a blob.
    ///
    /// - Parameters:
    ///   - digest: its name.
    ///   - isPartial: it is on its way.
    ///   - size: on the disk, bytes.
    ///   - lastUse: nanoseconds since 1970.
    ///   - protection: why it must stay; nil where it need not.
    ///   - isPulled: an artifact of it was pulled.
    package init(
      digest: Digest,
      isPartial: Bool,
      size: Int64,
      lastUse: Int64,
      protection: Protection?,
      isPulled: Bool = false
    ) {
      self.isPulled = isPulled
      self.digest = digest
      self.isPartial = isPartial
      self.size = size
      self.lastUse = lastUse
      self.protection = protection
    }
  }

  /// Why a blob is not evicted.
  package enum Protection: String, Sendable, CaseIterable {
    /// A process has it open.
    case open
    /// An artifact of it is pinned.
    case pinned
    /// An artifact of it was loaded from a file, built or put here: it may not be had again.
    case final
    /// It came a moment ago, and its artifact may be on its way.
    case recent
    /// Nothing says whose it is; `gc` finds out.
    case unknown
  }

  /// In the order in which they go.
  package let evicted: [Candidate]
  /// Bytes that they free.
  package let freed: Int64

  /// Chooses.
  ///
  /// - Parameters:
  ///   - candidates: all that there are.
  ///   - needed: bytes that must go.
  package init(_ candidates: [Candidate], needed: Shortfall) {
    var evicted: [Candidate] = []
    var freed: Int64 = 0
    let order = candidates.filter { $0.protection == nil && $0.size > 0 }.sorted { left, right in
      (left.lastUse, left.size, left.digest.hex) < (right.lastUse, right.size, right.digest.hex)
    }
    for candidate in order {
      guard freed < needed.total else { break }
      if candidate.isPulled, freed >= needed.set { continue }
      evicted.append(candidate)
      freed += candidate.size
    }
    self.evicted = evicted
    self.freed = freed
  }
}
