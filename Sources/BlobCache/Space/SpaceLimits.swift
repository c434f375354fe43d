/// The limits on the disk space that the blobs of a root may use.
package struct SpaceLimits: Sendable, Equatable {
  /// Maximum size of blobs and partial blobs together in bytes; nil for no limit.
  package var cacheLimit: Int64?
  /// Free space to leave on the disk as the user set it, in bytes; 0 if not set.
  package var minimumFree: Int64
  /// Free space to leave on the disk by default, in bytes: below it, new bytes are not cached, and only blobs
  /// that were fetched by reads are evicted for it.
  package var defaultFree: Int64

  // 5 % of the disk, and on large disks at most 20 GiB, the size of a large model.
  private static let defaultShare: Int64 = 20
  private static let largestDefault: Int64 = 20 << 30

  /// Creates limits.
  ///
  /// - Parameters:
  ///   - cacheLimit: Bytes; nil for no limit.
  ///   - minimumFree: Bytes.
  ///   - defaultFree: Bytes.
  package init(cacheLimit: Int64? = nil, minimumFree: Int64 = 0, defaultFree: Int64 = 0) {
    self.cacheLimit = cacheLimit
    self.minimumFree = minimumFree
    self.defaultFree = defaultFree
  }

  /// Returns the free space to leave on a disk if the user sets none.
  ///
  /// - Parameter diskSize: The size of the disk in bytes.
  package static func defaultFree(diskSize: Int64) -> Int64 { min(diskSize / defaultShare, largestDefault) }

  /// Returns the stricter of two limits: the lower cache limit, and the larger free space.
  ///
  /// - Parameter other: The limits of another process on the same root.
  package func stricter(_ other: SpaceLimits) -> SpaceLimits {
    let limits = [cacheLimit, other.cacheLimit].compactMap { $0 }
    return SpaceLimits(
      cacheLimit: limits.min(),
      minimumFree: max(minimumFree, other.minimumFree),
      defaultFree: max(defaultFree, other.defaultFree)
    )
  }

  /// Returns how many bytes must be freed before more bytes may be cached.
  ///
  /// - Parameters:
  ///   - count: Bytes to be cached.
  ///   - used: Bytes of blobs, reserved bytes included.
  ///   - free: Free bytes of the disk, reserved bytes subtracted.
  package func shortfall(_ count: Int64, used: Int64, free: Int64) -> Shortfall {
    let overLimit = cacheLimit.map { used + count - $0 } ?? 0
    let overDisk = minimumFree > 0 ? minimumFree + count - free : 0
    let set = max(0, overLimit, overDisk)
    // Regardless of the limits, no more can be cached than the disk has free.
    let overDefault = defaultFree > 0 || count > 0 ? defaultFree + count - free : 0
    return Shortfall(total: max(set, overDefault), set: set)
  }
}

/// Bytes that must be freed before more bytes may be cached.
package struct Shortfall: Sendable, Equatable {
  /// Bytes for all limits.
  package let total: Int64
  /// Bytes for the limits that the user set; for these, pulled artifacts are evicted too.
  package let set: Int64

  package var isNone: Bool { total == 0 }

  /// Creates a shortfall.
  ///
  /// - Parameters:
  ///   - total: Bytes for all limits.
  ///   - set: Bytes for the limits that the user set.
  package init(total: Int64, set: Int64) {
    self.total = total
    self.set = set
  }
}
