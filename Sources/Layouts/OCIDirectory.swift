package import Content
package import OCI
package import SystemPackage
package import Disk

/// An oci-dir: a directory with `oci-layout`, `index.json` and `blobs/` (image-spec image-layout.md).
package struct OCIDirectory: LocalRepository {
  package let path: FilePath
  package let executor: BlockingExecutor

  package var origin: String { path.string }
  package var format: LayoutFormat? { .directory }
  package var directory: FilePath? { path }

  /// Creates an oci-dir without accessing the disk.
  ///
  /// - Parameters:
  ///   - path: The path of the directory.
  ///   - executor: Runs blocking disk operations.
  package init(path: FilePath, executor: BlockingExecutor) {
    self.path = path
    self.executor = executor
  }

  /// Whether a directory is an oci-dir.
  package static func exists(at path: FilePath) -> Bool {
    Disk.exists(path.appending("oci-layout")) && Disk.exists(path.appending("index.json"))
  }

  package var isThere: Bool { Self.exists(at: path) }

  package func index() throws(ContentError) -> Index {
    try Self.parseIndex(try Disk.contents(of: path.appending("index.json"), limit: Index.maximumSize), origin)
  }

  package func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    try BlobFile.inLayout(path.appending(digest.layoutPath))
  }
}
