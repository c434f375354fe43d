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
  /// How long a tag's resolution is good.
  package var timeToLive: Duration = .seconds(60)
  /// How long something is remembered not to be there.
  package var negativeTimeToLive: Duration = .seconds(5)
  /// How deep namespaces that nobody confirms may be.
  package var namespaceDepth = 3
  /// Namespaces that are there though nobody confirms them: `registry/path`.
  package var namespaces: Set<String> = []
  package var isOffline = false
  package var fetchFor = FetchFor.all
  /// A tag's last known resolution stands where its registry does not answer, or answers wrongly.
  package var acceptsStale = true
  /// How long the registry of a tag that is known may take to answer before the last known answer is given.
  package var staleWait: Duration = .seconds(1)
  /// How many files that are not open the kernel may remember: it does so until memory runs short on the machine, and
  /// each costs the daemon some 2 KB.
  package var rememberedFiles = 30_000
  /// The most that copies of files inside tars and archives may have, bytes; 0 for none.
  package var materializeLimit: Int64 = 0

  /// Makes the usual options.
  package init() {}
}
