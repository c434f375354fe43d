import ArtifactTree
package import Fetching
import Locking
package import OCI

/// An open file, for `weightfs status`.
package struct OpenFileStatus: Sendable {
  /// Path from the root of the mount.
  package let path: String
  package let digest: Digest
  /// Bytes.
  package let size: Int64
  package let cachedBytes: Int64
  /// Whether the kernel reads the file by passthrough.
  package let isPassing: Bool
}

extension FileSystem {
  /// The open files in the order of their paths; several handles of one file are one entry.
  package var openFiles: [OpenFileStatus] {
    let open = state.withLock { Array($0.files.values) }
    var seen: Set<String> = []
    return open.sorted { $0.name < $1.name }.compactMap { file in
      guard seen.insert(file.name).inserted else { return nil }
      return OpenFileStatus(
        path: file.name,
        digest: file.content.blob.digest,
        size: file.content.size,
        cachedBytes: file.blob.status(of: file.content.range).cachedBytes,
        isPassing: file.isPassing
      )
    }
  }

  /// The number of open handles.
  package var handleCount: Int { state.withLock { $0.files.count } }

  /// The blobs that are being fetched or verified.
  package var activities: [BlobActivity] { store.activities }
}
