package import Artifacts

/// Options of the tree, and how long answers are cached.
package struct FileSystemOptions: Sendable {
  /// The names that listings show in addition to the local ones.
  package enum Listing: String, Sendable, CaseIterable {
    case local
    case tags
    case catalog
  }

  /// The users whose operations cause requests to registries.
  package enum FetchFor: String, Sendable, CaseIterable {
    case all
    /// The owner of the files, and root.
    case owner
  }

  package var userIdentifier: UInt32 = 0
  package var groupIdentifier: UInt32 = 0
  /// Octal umask applied to every file and directory.
  package var umask: UInt32 = 0
  package var listing = Listing.tags
  /// Maximum depth of namespaces that no registry confirms.
  package var namespaceDepth = 3
  /// Namespaces that exist even if no registry confirms them: `registry/path`.
  package var namespaces: Set<String> = []
  package var fetchFor = FetchFor.all
  /// How long answers of registries are cached.
  package var resolution = ResolutionOptions()
  /// Maximum number of files that are not open and that the kernel may remember; without a limit it remembers
  /// them until memory runs short, and each costs the daemon about 2 KB.
  package var rememberedFiles = 30_000
  /// Maximum total size of copies of files inside tars and archives in bytes; 0 for no copies.
  package var materializeLimit: Int64 = 0

  /// Creates the default options.
  package init() {}
}
