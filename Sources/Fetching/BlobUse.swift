import OCI

/// The use of a blob: the references that opened it, the time of its last use, and the recording of its
/// reads.
///
/// Pure: the caller passes the time.
struct BlobUse: Sendable {
  // Beyond this many references each open is noted again, which costs a read of a small file.
  private static let holderLimit = 64
  // The precision of the order of eviction.
  private static let interval: Duration = .seconds(30)

  /// The active recording of the blob's reads; nil for none.
  var recording: Recording?
  /// The references that opened the blob, which are noted on the disk.
  private var holders: Set<Reference> = []
  private var lastUse: ContinuousClock.Instant?
  private var hasLookedForProfile = false

  /// Notes an open.
  ///
  /// - Returns: Whether the reference is new.
  mutating func open(by reference: Reference) -> Bool {
    if holders.count >= Self.holderLimit { holders = [] }
    return holders.insert(reference).inserted
  }

  /// Returns whether a use must be noted on the disk; it then counts as noted.
  mutating func isDue(at now: ContinuousClock.Instant) -> Bool {
    if let lastUse, now - lastUse < Self.interval { return false }
    lastUse = now
    return true
  }

  /// Returns whether a profile must be looked up: true for the first call.
  mutating func takeProfileLook() -> Bool {
    defer { hasLookedForProfile = true }
    return !hasLookedForProfile
  }
}
