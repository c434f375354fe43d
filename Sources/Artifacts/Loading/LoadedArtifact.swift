package import Layouts
package import ArtifactTree
package import Content
import LocalRegistry
package import OCI

/// An artifact whose manifest was read: what its files are and where their bytes come from.
package final class LoadedArtifact: Sendable {
  /// What a user calls it: a reference, or the layout it was mounted from.
  package let label: String
  package let reference: Reference?
  /// What the reference stands for: the manifest, or the index it was chosen from.
  package let root: Descriptor
  /// Of the manifest; its bytes are not kept.
  package let manifestDigest: Digest
  private let manifestSize: Int
  package let manifest: Manifest
  package let tree: FileTree
  /// Where blobs may lie on this machine, apart from the pool.
  package let layout: (any LocalRepository)?
  /// It came from its registry, and the layout is weightfs' own.
  package let isFetched: Bool
  /// Where blobs can be fetched from.
  package let source: (any Repository)?

  init(
    label: String,
    reference: Reference?,
    root: Descriptor,
    document: ManifestDocument,
    manifest: Manifest,
    tree: FileTree,
    layout: (any LocalRepository)?,
    source: (any Repository)?,
    isFetched: Bool
  ) {
    self.isFetched = isFetched
    self.label = label
    self.reference = reference
    self.root = root
    manifestDigest = document.descriptor.digest
    manifestSize = document.bytes.count
    self.manifest = manifest
    self.tree = tree
    self.layout = layout
    self.source = source
  }

  /// What the artifact takes in memory, bytes: its tree, and what a manifest becomes.
  var memory: Int { tree.memory + 4 * manifestSize + 4096 }

  /// Config and layers: what a complete layout has beside the manifest.
  package var blobs: [Descriptor] { Self.blobs(of: manifest) }

  static func blobs(of manifest: Manifest) -> [Descriptor] {
    var seen: Set<Digest> = []
    return ([manifest.config].compactMap { $0 } + manifest.layers).filter { seen.insert($0.digest).inserted }
  }

  /// Seconds since 1970 of the artifact's creation, else 0.
  package var created: Int64 { tree.modificationTime(of: 0) }

  /// Where it came from: a layout's path, or the registry.
  package var origin: String { isFetched ? source?.origin ?? "" : layout?.origin ?? source?.origin ?? "" }
}
