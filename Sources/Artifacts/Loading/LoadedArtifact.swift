package import Layouts
package import ArtifactTree
package import Content
import LocalRegistry
package import OCI

/// A loaded artifact: its manifest, the tree of its files, and the places that have its bytes.
package final class LoadedArtifact: Sendable {
  /// The name that the user gave: a reference, or the layout that was mounted.
  package let label: String
  package let reference: Reference?
  /// The descriptor that the reference resolves to: of the manifest, or of the index it was selected from.
  package let root: Descriptor
  /// Digest of the manifest, whose bytes are not kept.
  package let manifestDigest: Digest
  private let manifestSize: Int
  package let manifest: Manifest
  /// The name of the packaging.
  package let packaging: String
  /// Sentences for the user about the choice of the manifest.
  package let notes: [String]
  package let tree: FileTree
  /// The layout on this machine that may have blobs, besides the pool.
  package let layout: (any LocalRepository)?
  /// Whether the artifact was fetched from its registry, so that the layout is weightfs' own.
  package let isFetched: Bool
  /// The repository that blobs can be fetched from.
  package let source: (any Repository)?
  /// The sources of the blobs that were decompressed from layers, by digest.
  private let unpacked: [Digest: UnpackedSource]
  /// Whether the local registry has the manifest, or will soon, so that the artifact can be loaded again.
  package let isRecorded: Bool

  init(
    label: String,
    reference: Reference?,
    root: Descriptor,
    document: ManifestDocument,
    manifest: Manifest,
    packaging: String,
    notes: [String],
    tree: FileTree,
    layout: (any LocalRepository)?,
    source: (any Repository)?,
    unpacked: [Digest: UnpackedSource] = [:],
    isFetched: Bool,
    isRecorded: Bool
  ) {
    self.unpacked = unpacked
    self.isFetched = isFetched
    self.isRecorded = isRecorded
    self.label = label
    self.reference = reference
    self.root = root
    manifestDigest = document.descriptor.digest
    manifestSize = document.bytes.count
    self.manifest = manifest
    self.packaging = packaging
    self.notes = notes
    self.tree = tree
    self.layout = layout
    self.source = source
  }

  /// Returns the repository that a blob can be fetched from: for the content of a compressed layer, the
  /// layer.
  package func source(of blob: Descriptor) -> (any Repository)? { unpacked[blob.digest] ?? source }

  /// Memory of the artifact in bytes: the tree, and an estimate for the parsed manifest.
  var memory: Int { tree.memory + 4 * manifestSize + 4096 }

  /// Config and layers, which a complete layout has in addition to the manifest.
  package var blobs: [Descriptor] { Self.blobs(of: manifest) }

  static func blobs(of manifest: Manifest) -> [Descriptor] {
    var seen: Set<Digest> = []
    return ([manifest.config].compactMap { $0 } + manifest.layers).filter { seen.insert($0.digest).inserted }
  }

  /// Creation time of the artifact in seconds since 1970, or 0.
  package var created: Int64 { tree.modificationTime(of: 0) }

  /// The origin of the artifact: the path of a layout, or the registry.
  package var origin: String { isFetched ? source?.origin ?? "" : layout?.origin ?? source?.origin ?? "" }
}
