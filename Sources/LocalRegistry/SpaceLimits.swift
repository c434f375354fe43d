/// How much of a disk the blobs of a root may take.
package struct SpaceLimits: Sendable, Equatable {
  /// The most that blobs and partial blobs may have together, bytes; nil for no limit.
  package var cacheLimit: Int64?
  /// What others are left on the disk, bytes; 0 for nothing.
  package var minimumFree: Int64

  /// Sets limits.
  ///
  /// - Parameters:
  ///   - cacheLimit: bytes; nil for none.
  ///   - minimumFree: bytes.
  package init(cacheLimit: Int64? = nil, minimumFree: Int64 = 0) {
    self.cacheLimit = cacheLimit
    self.minimumFree = minimumFree
  }

  /// What both sides accept.
  ///
  /// - Parameter other: of another process on the same root.
  /// - Returns: the lower limit, and the larger rest.
  package func stricter(_ other: SpaceLimits) -> SpaceLimits {
    let limits = [cacheLimit, other.cacheLimit].compactMap { $0 }
    return SpaceLimits(cacheLimit: limits.min(), minimumFree: max(minimumFree, other.minimumFree))
  }

  /// How much must go before more may come.
  ///
  /// - Parameters:
  ///   - count: bytes that are to come.
  ///   - used: bytes of blobs, with what is on its way.
  ///   - free: bytes that the disk has left for it, without what is on its way.
  /// - Returns: bytes; 0 where there is room.
  package func shortfall(_ count: Int64, used: Int64, free: Int64) -> Int64 {
    let overLimit = cacheLimit.map { used + count - $0 } ?? 0
    let overDisk = minimumFree > 0 ? minimumFree + count - free : 0
    return max(0, overLimit, overDisk)
  }
}
