import Content
package import OCI
import SystemPackage
package import Disk

/// Which files were found to be what their digest says: by device, inode, size and time of writing, so that a file
/// that was written since counts as unknown.
package struct VerificationRecords: Sendable {
  private let root: RegistryRoot

  /// The records of a root.
  ///
  /// - Parameter root: of the local registry.
  package init(root: RegistryRoot) { self.root = root }

  /// Whether a foreign file is known to hold a blob.
  ///
  /// - Parameters:
  ///   - file: as it is open.
  ///   - digest: of the blob.
  package func covers(_ file: BlobFile, _ digest: Digest) -> Bool {
    read(foreignPath(file, digest)) == foreignLine(file)
  }

  /// Notes that a foreign file holds a blob.
  ///
  /// - Parameters:
  ///   - file: whose bytes were hashed.
  ///   - digest: that came out.
  /// - Throws: `Errno`.
  func record(_ file: BlobFile, _ digest: Digest) throws(Errno) {
    try write(foreignLine(file), to: foreignPath(file, digest))
  }

  /// Whether a foreign file, or a part of one, is known to have other bytes than its digest says.
  ///
  /// - Parameters:
  ///   - file: as it is open.
  ///   - digest: of the blob.
  /// - Returns: true if so, as long as the file is not written to.
  package func isDamaged(_ file: BlobFile, _ digest: Digest) -> Bool {
    read(foreignPath(file, digest)) == "damaged " + foreignLine(file)
  }

  /// Notes that it is.
  ///
  /// - Parameters:
  ///   - file: whose bytes were hashed.
  ///   - digest: that did not come out.
  /// - Throws: `Errno`.
  func recordDamaged(_ file: BlobFile, _ digest: Digest) throws(Errno) {
    try write("damaged " + foreignLine(file), to: foreignPath(file, digest))
  }

  /// What the record of a pool's file says.
  enum PoolRecord {
    case none
    case same
    /// The file was written since.
    case different
  }

  /// Holds a pool's file against its commit.
  ///
  /// Neither device nor inode counts: they change when a disk is moved or restored.
  func poolRecord(_ identity: FileIdentity, _ digest: Digest) -> PoolRecord {
    guard let line = read(poolPath(digest)) else { return .none }
    return line == poolLine(identity) ? .same : .different
  }

  /// Notes what a pool's file is at its commit.
  ///
  /// Written before the file has its name, so that no name lacks it.
  func recordPool(_ identity: FileIdentity, _ digest: Digest) throws(Errno) {
    try write(poolLine(identity), to: poolPath(digest))
  }

  /// Notes that a pool's file is not what it was, whatever it looks like.
  func doubtPool(_ digest: Digest) throws(Errno) { try write("damaged\n", to: poolPath(digest)) }

  /// Forgets what a pool's file was.
  func removePool(_ digest: Digest) { try? Disk.remove(poolPath(digest)) }

  private func read(_ path: FilePath) -> String? {
    guard let bytes = try? Disk.contents(of: path, limit: 4096) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }

  private func write(_ line: String, to path: FilePath) throws(Errno) {
    do throws(ContentError) {
      try root.replace(path, with: Array(line.utf8), permissions: [.ownerReadWrite, .groupRead, .otherRead])
    } catch {
      throw error.isDiskFull ? Errno.noSpace : Errno.ioError
    }
  }

  private func poolPath(_ digest: Digest) -> FilePath {
    root.verified.appending("\(digest.algorithm)-\(digest.hex)")
  }

  private func poolLine(_ identity: FileIdentity) -> String { "\(identity.size) \(identity.modified)\n" }

  private func foreignPath(_ file: BlobFile, _ digest: Digest) -> FilePath {
    let place = "\(file.identity.device)-\(file.identity.inode)"
    return root.verified.appending("\(digest.algorithm)-\(digest.hex)-\(place)")
  }

  private func foreignLine(_ file: BlobFile) -> String {
    "\(file.identity.size) \(file.identity.modified) \(file.offset) \(file.size)\n"
  }
}
