import Content
package import OCI
package import SystemPackage

/// Which files were found to be what their digest says: by device, inode, size and time of writing, so that a file
/// that was written since counts as unknown.
package struct VerificationRecords: Sendable {
  private let root: RegistryRoot

  /// The records of a root.
  ///
  /// - Parameter root: of the local registry.
  package init(root: RegistryRoot) { self.root = root }

  /// Whether a file is known to hold a blob.
  ///
  /// - Parameters:
  ///   - file: as it is open.
  ///   - digest: of the blob.
  /// - Returns: true if so.
  package func covers(_ file: BlobFile, _ digest: Digest) -> Bool {
    guard let bytes = try? Disk.contents(of: path(file, digest), limit: 4096) else { return false }
    return String(decoding: bytes, as: UTF8.self) == line(file)
  }

  /// Notes that a file holds a blob.
  ///
  /// - Parameters:
  ///   - file: whose bytes were hashed.
  ///   - digest: that came out.
  /// - Throws: `Errno`.
  package func record(_ file: BlobFile, _ digest: Digest) throws(Errno) {
    do throws(ContentError) {
      try Disk.replace(
        path(file, digest),
        with: Array(line(file).utf8),
        permissions: [.ownerReadWrite, .groupRead, .otherRead]
      )
    } catch {
      throw Errno.ioError
    }
  }

  private func path(_ file: BlobFile, _ digest: Digest) -> FilePath {
    // A pool's blob and a foreign file with the same digest are different files.
    root.verified.appending(
      "\(digest.algorithm)-\(digest.hex)-\(file.identity.device)-\(file.identity.inode)"
    )
  }

  private func line(_ file: BlobFile) -> String {
    "\(file.identity.size) \(file.identity.modified) \(file.offset) \(file.size)\n"
  }
}
