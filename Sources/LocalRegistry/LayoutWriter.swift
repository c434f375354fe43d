import Layouts
import BlobCache
import Content
import OCI
import SystemPackage
import Disk

/// Writes the oci-dir of an artifact.
///
/// The directory is a valid layout at each moment: `index.json` is written last.
struct LayoutWriter {
  let pool: BlobPool
  let path: FilePath

  private var root: RegistryRoot { pool.root }

  /// Writes or replaces the layout.
  ///
  /// - Parameters:
  ///   - top: The descriptor that the reference resolves to: of a manifest or an index.
  ///   - documents: The manifest, and the indexes above it.
  ///   - name: The full reference, for `org.opencontainers.image.ref.name`.
  ///   - blobs: Config and layers; the complete ones are linked into the layout.
  ///   - others: Entries of other programs, which are kept.
  ///   - foreign: Entries that cannot be parsed, which are kept unchanged.
  /// - Throws: `ContentError`.
  func write(
    top: Descriptor,
    documents: [ManifestDocument],
    name: String,
    blobs: [Descriptor],
    keeping others: [Descriptor] = [],
    foreign: [JSONValue] = []
  ) throws(ContentError) {
    do throws(Errno) {
      for algorithm in Set(documents.map(\.descriptor.digest.algorithm) + [.sha256]) {
        try Disk.createFolder(path.appending("blobs").appending(algorithm.rawValue))
      }
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
    for document in documents {
      try pool.store(document.bytes, digest: document.descriptor.digest)
      try pool.place(document.descriptor.digest, into: path)
      guard Disk.exists(path.appending(document.descriptor.digest.layoutPath)) else {
        throw ContentError(
          .disk,
          "\(path)",
          "a manifest was removed while the layout was being written",
          advice: "Try again"
        )
      }
    }
    for blob in blobs where pool.hasComplete(blob) { try pool.place(blob.digest, into: path) }
    var entry = top
    entry.annotations = ["org.opencontainers.image.ref.name": name]
    let permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead]
    do {
      var entries = Index(manifests: [entry] + others)
      entries.foreign = foreign
      let index = try JSONDocument.encode(entries)
      try root.replace(
        path.appending("oci-layout"),
        with: try JSONDocument.encode(LayoutMarker()),
        permissions: permissions
      )
      try root.replace(path.appending("index.json"), with: index, permissions: permissions)
    } catch let error as ContentError {
      throw error
    } catch {
      throw ContentError(.invalid, name, "cannot write the index: \(error)")
    }
  }
}
