package import Content
package import OCI
package import SystemPackage
package import Disk

/// An oci-dir: a folder with `oci-layout`, `index.json` and `blobs/` (image-spec image-layout.md).
package struct OCIDirectory: LocalRepository {
  package let path: FilePath
  package let executor: BlockingExecutor

  package var origin: String { path.string }
  package var format: LayoutFormat? { .directory }
  package var directory: FilePath? { path }

  /// Names a folder that is an oci-dir.
  ///
  /// - Parameters:
  ///   - path: of the folder.
  ///   - executor: runs what waits for the disk.
  package init(path: FilePath, executor: BlockingExecutor) {
    self.path = path
    self.executor = executor
  }

  /// Whether a folder is an oci-dir.
  ///
  /// - Parameter path: of the folder.
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
