package import Artifacts

/// How the tree looks and how long answers are remembered.
package struct FileSystemOptions: Sendable {
  /// What listings show beside what is known locally.
  package enum Listing: String, Sendable, CaseIterable {
    case local
    case tags
    case catalog
  }

  /// Whose requests are sent to registries.
  package enum FetchFor: String, Sendable, CaseIterable {
    case all
    /// The owner of the files, and root.
    case owner
  }

  package var userIdentifier: UInt32 = 0
  package var groupIdentifier: UInt32 = 0
  /// Permission bits that no entry has.
  package var umask: UInt32 = 0
  package var listing = Listing.tags
  /// How deep namespaces that nobody confirms may be.
  package var namespaceDepth = 3
  /// Namespaces that are there though nobody confirms them: `registry/path`.
  package var namespaces: Set<String> = []
  package var fetchFor = FetchFor.all
  /// How long answers of registries are remembered.
  package var resolution = ResolutionOptions()
  /// How many files that are not open the kernel may remember: it does so until memory runs short on the machine, and
  /// each costs the daemon some 2 KB.
  package var rememberedFiles = 30_000
  /// The most that copies of files inside tars and archives may have, bytes; 0 for none.
  package var materializeLimit: Int64 = 0

  /// Makes the usual options.
  package init() {}
}
