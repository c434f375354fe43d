package import OCI

/// The blobs to evict when space is short: the least recently used first, and never a protected one.
package struct EvictionPlan: Sendable {
  /// A blob or partial blob of the pool.
  package struct Candidate: Sendable, Equatable {
    package let digest: Digest
    package let isPartial: Bool
    /// Size on the disk in bytes.
    package let size: Int64
    /// Time of the last use in nanoseconds since 1970; 0 for a blob without references.
    package let lastUse: Int64
    /// The reason that protects the blob from eviction, or nil.
    package let protection: Protection?
    /// An artifact of the blob was pulled: the blob is evicted only for a limit that the user set.
    package let isPulled: Bool

    /// Creates a candidate.
    ///
    /// - Parameters:
    ///   - digest: The digest of the blob.
    ///   - isPartial: Whether the blob is partial.
    ///   - size: The size on the disk in bytes.
    ///   - lastUse: The time of the last use in nanoseconds since 1970.
    ///   - protection: The reason that protects the blob, or nil.
    ///   - isPulled: Whether an artifact of the blob was pulled.
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

  /// The reason why a blob is not evicted.
  package enum Protection: String, Sendable, CaseIterable {
    /// A process has it open.
    case open
    /// An artifact of the blob is pinned.
    case pinned
    /// An artifact of the blob was loaded from a file, built or added by another program: it may not be
    /// fetchable.
    case final
    /// The blob was used less than 10 minutes ago and has no layout yet: its artifact may be in flight.
    case recent
    /// No record says which artifact has the blob; `gc` determines it.
    case unknown
  }

  /// The blobs to evict, in order.
  package let evicted: [Candidate]
  /// Bytes that evicting them frees.
  package let freed: Int64

  /// Selects the blobs to evict.
  ///
  /// - Parameters:
  ///   - candidates: All blobs of the pool.
  ///   - needed: The bytes that must be freed.
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
