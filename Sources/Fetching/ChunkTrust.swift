import BlobCache
import OCI

/// Which list of chunks a blob is compared with.
///
/// A list of weightfs' own verification is used before any other. A list that a manifest names is that manifest's word
/// alone: once the blob was opened by way of another manifest, which names another list or none, it is not used any
/// more, as it may be made to fit wrong bytes.
struct ChunkTrust: Sendable {
  /// The list in use, with what was compared; nil for none.
  var chunks: TrustedChunks?
  private var usesOwnList = false
  /// The lists that manifests name; nil for a manifest that names none.
  private var namedLists: Set<Digest?> = []

  /// Whether a list that a manifest names, or an own one, is still to be looked for.
  func needsList(_ named: Digest?) -> Bool {
    !usesOwnList && (chunks == nil || !namedLists.contains(named))
  }

  /// The result of an adoption.
  enum Change: Sendable, Equatable {
    /// An own list is in use: nothing changes.
    case none
    case kept
    /// The list in use is not trusted any more, or none will be.
    case dropped(hadList: Bool)
  }

  /// Uses a list from now on, unless another one goes before it.
  ///
  /// - Parameters:
  ///   - list: trusted, of this blob; nil where there is none.
  ///   - named: the digest that the manifest has for it; nil where it names none.
  ///   - isOwn: it is of an earlier verification.
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
