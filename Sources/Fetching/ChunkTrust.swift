import BlobCache
import OCI

/// Chooses the chunk list that a blob is compared with.
///
/// A list from weightfs' own verification takes precedence. A list that a manifest names is trusted for that
/// manifest only: after the blob was opened through another manifest, which names another list or none, the
/// list is no longer used, as it may have been made to match wrong bytes.
struct ChunkTrust: Sendable {
  /// The list in use, with the compared chunks; nil for none.
  var chunks: TrustedChunks?
  private var usesOwnList = false
  /// The lists that manifests name; nil for a manifest that names none.
  private var namedLists: Set<Digest?> = []

  /// Returns whether a list, named by a manifest or own, must still be looked up.
  func needsList(_ named: Digest?) -> Bool {
    !usesOwnList && (chunks == nil || !namedLists.contains(named))
  }

  /// The result of an adoption.
  enum Change: Sendable, Equatable {
    /// An own list is in use: nothing changes.
    case none
    case kept
    /// The list in use is no longer trusted, or no list will be.
    case dropped(hadList: Bool)
  }

  /// Uses a list from now on, unless another list takes precedence.
  ///
  /// - Parameters:
  ///   - list: A trusted list of this blob; nil for none.
  ///   - named: The digest of the list in the manifest; nil if the manifest names none.
  ///   - isOwn: Whether the list is from an earlier verification.
  mutating func adopt(_ list: ChunkList?, named: Digest?, isOwn: Bool) -> Change {
    guard !usesOwnList else { return .none }
    if let list, isOwn {
      usesOwnList = true
      if chunks?.list != list { chunks = TrustedChunks(list) }
      return .kept
    }
    namedLists.insert(named)
    if namedLists.count > 1 {
      defer { chunks = nil }
      return .dropped(hadList: chunks != nil)
    }
    if let list, chunks == nil { chunks = TrustedChunks(list) }
    return .kept
  }
}
