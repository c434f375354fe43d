import OCI

/// How a blob is used: by which references, when, and what is recorded of its reads.
///
/// Pure: time is given by the caller.
struct BlobUse: Sendable {
  // Beyond these each open is noted again, which costs a look at a small file.
  private static let holderLimit = 64
  // How exact the order of eviction is.
  private static let interval: Duration = .seconds(30)

  /// The recording of its reads, while there is one.
  var recording: Recording?
  /// References by which it was opened, which are noted beside it on the disk.
  private var holders: Set<Reference> = []
  private var lastUse: ContinuousClock.Instant?
  private var hasLookedForProfile = false

  /// Notes an open.
  ///
  /// - Returns: whether the reference is new.
  mutating func open(by reference: Reference) -> Bool {
    if holders.count >= Self.holderLimit { holders = [] }
    return holders.insert(reference).inserted
  }

  /// Whether a use is to be noted on the disk; it counts as noted then.
  mutating func isDue(at now: ContinuousClock.Instant) -> Bool {
    if let lastUse, now - lastUse < Self.interval { return false }
    lastUse = now
    return true
  }

  /// Whether a profile is to be looked for; true once.
  mutating func takeProfileLook() -> Bool {
    defer { hasLookedForProfile = true }
    return !hasLookedForProfile
  }
}
