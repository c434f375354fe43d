package import SystemPackage

/// Whose processes may use a root that weightfs makes, and what is added to one.
package enum RootShare: String, Sendable, CaseIterable {
  case owner, group, all

  /// Of the root's directory and those that belong to weightfs.
  package var folderMode: CInterop.Mode {
    switch self {
    case .owner: 0o700
    case .group: 0o770
    case .all: 0o777
    }
  }

  /// Of state, locks and partial blobs.
  package var fileMode: CInterop.Mode { folderMode & 0o666 }
}
