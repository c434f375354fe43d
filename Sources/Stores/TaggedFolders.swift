import Locking
import SystemPackage
import Disk

/// Remembers which directories of a tree contain tags, until a directory changes: so a namespace of thousands
/// of repositories is not scanned for each look-up.
package final class TaggedFolders: Sendable {
  package init() {}

  private static let limit = 10_000
  private let known = Mutex<[String: (identity: FileIdentity, hasTags: Bool)]>([:])

  /// Whether a directory contains the name of a tag.
  func hasTags(_ folder: FilePath) -> Bool {
    guard let identity = try? FileIdentity(at: folder) else { return false }
    if let known = known.withLock({ $0[folder.string] }), known.identity == identity { return known.hasTags }
    let hasTags = Disk.contains(folder) { $0.hasPrefix("__") }
    // A directory that was modified within the last second may change again with the same modification time.
    guard RealTime.now - identity.modified > 1_000_000_000 else { return hasTags }
    known.withLock { known in
      if known.count >= Self.limit { known = [:] }
      known[folder.string] = (identity, hasTags)
    }
    return hasTags
  }
}
