package import SystemPackage

/// The users whose processes may use a root that weightfs creates, and the files added to it.
package enum RootShare: String, Sendable, CaseIterable {
  case owner, group, all

  /// Mode of the root's directory and of weightfs' own directories.
  package var folderMode: CInterop.Mode {
    switch self {
    case .owner: 0o700
    case .group: 0o770
    case .all: 0o777
    }
  }

  /// Mode of state files, locks and partial blobs.
  package var fileMode: CInterop.Mode { folderMode & 0o666 }
}
