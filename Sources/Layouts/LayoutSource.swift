package import Content
package import OCI
package import SystemPackage
import Disk

/// A layout outside of the root that artifacts are loaded from: an oci-dir, an oci-archive or a docker-archive, told by
/// what is in it.
package struct LayoutSource: Sendable {
  package let path: FilePath
  private let repository: any LocalRepository

  /// Opens a layout.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - path: of a folder or a file.
  ///   - executor: runs what waits for the disk.
  /// - Throws: `ContentError` that says what is wrong with it.
  package init(_ path: FilePath, executor: BlockingExecutor) throws(ContentError) {
    self.path = path
    guard Disk.exists(path) else {
      throw ContentError(.notFound, "\(path)", "there is no such file or folder")
    }
    if Disk.isFolder(path) {
      guard Disk.exists(path.appending("index.json")) else {
        throw ContentError(.invalid, "\(path)", "is not an oci-dir: it has no index.json")
      }
      repository = OCIDirectory(path: path, executor: executor)
      return
    }
    let archive = try OCIArchive(path: path, executor: executor, needsIndex: false)
    if archive.member("index.json") != nil {
      repository = archive
    } else {
      repository = try DockerArchive(archive, executor: executor)
    }
  }

  /// An artifact of a layout.
  package struct Entry: Sendable {
    package let descriptor: Descriptor
    /// Its full name, where the layout tells it.
    package let reference: Reference?
    /// What the layout calls it.
    package let label: String
  }

  /// Why entries of the layout are passed over, one line each.
  ///
  /// - Throws: `ContentError`.
  package func problems() throws(ContentError) -> [String] { try repository.index().problems }

  /// The artifacts that the layout lists.
  ///
  /// - Throws: `ContentError`; `invalid` where two of them have one name.
  package func entries() throws(ContentError) -> [Entry] {
    var named: [Reference: Digest] = [:]
    var found: [Entry] = []
    for descriptor in try repository.index().manifests where descriptor.isManifestOrIndex {
      let names = [
        descriptor.annotations["io.containerd.image.name"],
        descriptor.annotations[OCIDirectory.nameAnnotation],
      ]
      let label = names.compactMap { $0 }.last ?? "\(descriptor.digest)"
      // A bare tag names no repository; "a/b:c" does, and is Docker Hub's.
      let reference = names.compactMap { $0 }.filter { $0.contains("/") || $0.contains(":") }
        .compactMap { try? Reference(parsing: $0) }.first
      if let reference {
        if let other = named[reference] {
          guard other == descriptor.digest else {
            throw ContentError(
              .invalid,
              "\(path)",
              "two of its manifests have the name '\(reference)': \(other) and \(descriptor.digest)",
              advice: "Give each a name of its own, or make the layout anew"
            )
          }
          continue
        }
        named[reference] = descriptor.digest
      }
      found.append(Entry(descriptor: descriptor, reference: reference, label: label))
    }
    return found
  }

  /// Collects what an artifact is made of.
  ///
  /// Blocks.
  ///
  /// - Parameter entry: of this layout.
  /// - Returns: documents and open blobs.
  /// - Throws: `ContentError`.
  package func contents(of entry: Entry) throws(ContentError) -> ArtifactContents {
    let contents = try ArtifactContents(entry.descriptor.asManifest, in: [repository])
    if let blob = contents.missing.first(where: { $0.verifiedData == nil }) {
      throw ContentError(
        .notFound,
        "\(path)",
        "'\(entry.label)' lacks the blob \(blob.digest)",
        advice: "Make the layout anew: 'skopeo copy' writes whole ones"
      )
    }
    return contents
  }
}
