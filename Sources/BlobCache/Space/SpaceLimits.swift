/// How much of a disk the blobs of a root may take.
package struct SpaceLimits: Sendable, Equatable {
  /// The most that blobs and partial blobs may have together, bytes; nil for no limit.
  package var cacheLimit: Int64?
  /// What others are left on the disk, as somebody set it, bytes; 0 for nothing.
  package var minimumFree: Int64
  /// What others are left on the disk where nobody set anything, bytes: new bytes are not kept below it, and only what
  /// readers fetched is evicted for it.
  package var defaultFree: Int64

  // A twentieth of the disk, and on large disks no more than one large model.
  private static let defaultShare: Int64 = 20
  private static let largestDefault: Int64 = 20 << 30

  /// Sets limits.
  ///
  /// - Parameters:
  ///   - cacheLimit: bytes; nil for none.
  ///   - minimumFree: bytes.
  ///   - defaultFree: bytes.
  package init(cacheLimit: Int64? = nil, minimumFree: Int64 = 0, defaultFree: Int64 = 0) {
    self.cacheLimit = cacheLimit
    self.minimumFree = minimumFree
    self.defaultFree = defaultFree
  }

  /// What is left free on a disk where nobody says how much.
  ///
  /// - Parameter diskSize: bytes.
  package static func defaultFree(diskSize: Int64) -> Int64 { min(diskSize / defaultShare, largestDefault) }

  /// What both sides accept.
  ///
  /// - Parameter other: of another process on the same root.
  /// - Returns: the lower limit, and the larger rests.
  package func stricter(_ other: SpaceLimits) -> SpaceLimits {
    let limits = [cacheLimit, other.cacheLimit].compactMap { $0 }
    return SpaceLimits(
      cacheLimit: limits.min(),
      minimumFree: max(minimumFree, other.minimumFree),
      defaultFree: max(defaultFree, other.defaultFree)
    )
  }

  /// How much must go before more may be kept.
  ///
  /// - Parameters:
  ///   - count: bytes that are to be kept.
  ///   - used: bytes of blobs, with what is on its way.
  ///   - free: bytes that the disk has left for it, without what is on its way.
  /// - Returns: bytes in all, and bytes below what was set.
  package func shortfall(_ count: Int64, used: Int64, free: Int64) -> Shortfall {
    let overLimit = cacheLimit.map { used + count - $0 } ?? 0
    let overDisk = minimumFree > 0 ? minimumFree + count - free : 0
    let set = max(0, overLimit, overDisk)
    // More than the disk has cannot be kept whatever is set.
    let overDefault = defaultFree > 0 || count > 0 ? defaultFree + count - free : 0
    return Shortfall(total: max(set, overDefault), set: set)
  }
}

/// Bytes that must go before more may be kept.
package struct Shortfall: Sendable, Equatable {
  /// For all limits.
  package let total: Int64
  /// For those that somebody set, for which also what was pulled goes.
  package let set: Int64

  package var isNone: Bool { total == 0 }

  /// Makes a shortfall.
  ///
  /// - Parameters:
  ///   - total: bytes, for all limits.
  ///   - set: bytes, for those that somebody set.
  package init(total: Int64, set: Int64) {
    self.total = total
    self.set = set
  }
}
