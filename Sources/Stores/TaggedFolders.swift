import Locking
import SystemPackage
import Disk

/// Which folders of a tree have tags in them, remembered until the folder changes: a namespace of thousands of
/// repositories is not read through for each name below it.
package final class TaggedFolders: Sendable {
  package init() {}

  private static let limit = 10_000
  private let known = Mutex<[String: (identity: FileIdentity, hasTags: Bool)]>([:])

  /// Whether a folder has a name that is a tag's.
  func hasTags(_ folder: FilePath) -> Bool {
    guard let identity = try? FileIdentity(at: folder) else { return false }
    if let known = known.withLock({ $0[folder.string] }), known.identity == identity { return known.hasTags }
    let hasTags = Disk.contains(folder) { $0.hasPrefix("__") }
    // A folder that changed within the clock's tick may change again without a sign.
    guard RealTime.now - identity.modified > 1_000_000_000 else { return hasTags }
    known.withLock { known in
      if known.count >= Self.limit { known = [:] }
      known[folder.string] = (identity, hasTags)
    }
    return hasTags
  }
}
