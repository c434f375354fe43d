package import Content
package import Disk
import Hashing
package import OCI
package import SystemPackage

/// A directory that `skopeo copy … dir:DIR` wrote: `manifest.json`, and blobs that are named by their hex digits.
///
/// The index is generated: it has one entry without a name. An image index is stored with its manifests beside it
/// (`<hex>.manifest.json`).
package struct SkopeoDirectory: LocalRepository {
  package let path: FilePath
  package let executor: BlockingExecutor

  package var origin: String { path.string }

  /// Creates a directory without accessing the disk.
  ///
  /// - Parameters:
  ///   - path: The path of the directory.
  ///   - executor: Runs blocking disk operations.
  package init(path: FilePath, executor: BlockingExecutor) {
    self.path = path
    self.executor = executor
  }

  private static let manifest = "manifest.json"

  /// Whether a directory has the form of skopeo's.
  package static func exists(at path: FilePath) -> Bool {
    Disk.exists(path.appending(manifest)) && Disk.exists(path.appending("version"))
  }

  package func index() throws(ContentError) -> Index {
    let file = path.appending(Self.manifest)
    guard let bytes = try Disk.contents(of: file, limit: Int(ManifestDocument.maximumSize)) else {
      throw ContentError(.notFound, "\(file)", "the file does not exist")
    }
    let digest = HashStream.digest(of: bytes)
    let document: ManifestDocument
    do {
      document = try ManifestDocument(bytes: bytes, digest: digest, declared: MediaType(rawValue: ""))
    } catch {
      throw ContentError(.invalid, "\(file)", error.reason)
    }
    return Index(manifests: [document.descriptor])
  }

  package func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    for name in [digest.hex, "\(digest.hex).\(Self.manifest)"] {
      if let file = try BlobFile.inLayout(path.appending(name)) { return file }
    }
    // Without a name of its own: the document that the directory is about.
    guard try index().manifests.first?.digest == digest else { return nil }
    return try BlobFile.inLayout(path.appending(Self.manifest))
  }
}
