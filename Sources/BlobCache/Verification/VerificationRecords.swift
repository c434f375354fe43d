import Content
package import OCI
import SystemPackage
package import Disk

/// Records which files were verified against their digest, with size and modification time, so that a file
/// that was modified since counts as unverified.
package struct VerificationRecords: Sendable {
  private let root: RegistryRoot

  /// Creates the records of a root.
  package init(root: RegistryRoot) { self.root = root }

  /// Whether a file of another program is recorded as holding a blob.
  ///
  /// - Parameters:
  ///   - file: The open file.
  ///   - digest: The digest of the blob.
  package func covers(_ file: BlobFile, _ digest: Digest) -> Bool {
    read(foreignPath(file, digest)) == foreignLine(file)
  }

  /// Records that a file of another program holds a blob.
  ///
  /// - Parameters:
  ///   - file: The hashed file.
  ///   - digest: The resulting digest.
  /// - Throws: `Errno`.
  func record(_ file: BlobFile, _ digest: Digest) throws(Errno) {
    try write(foreignLine(file), to: foreignPath(file, digest))
  }

  /// Whether a file of another program, or a part of one, is recorded as damaged and has not been modified
  /// since.
  ///
  /// - Parameters:
  ///   - file: The open file.
  ///   - digest: The digest of the blob.
  package func isDamaged(_ file: BlobFile, _ digest: Digest) -> Bool {
    read(foreignPath(file, digest)) == "damaged " + foreignLine(file)
  }

  /// Records that a file of another program is damaged.
  ///
  /// - Parameters:
  ///   - file: The hashed file.
  ///   - digest: The digest that the bytes do not match.
  /// - Throws: `Errno`.
  func recordDamaged(_ file: BlobFile, _ digest: Digest) throws(Errno) {
    try write("damaged " + foreignLine(file), to: foreignPath(file, digest))
  }

  /// The result of comparing a pool file with its record.
  enum PoolRecord {
    case none
    case same
    /// The file was modified since its commit.
    case different
  }

  /// Compares a pool file with its commit record.
  ///
  /// Device and inode are not compared: they change when a disk is moved or restored.
  func poolRecord(_ identity: FileIdentity, _ digest: Digest) -> PoolRecord {
    guard let line = read(poolPath(digest)) else { return .none }
    return line == poolLine(identity) ? .same : .different
  }

  /// Records the size and modification time of a pool file at its commit.
  ///
  /// Written before the file is linked, so that no name exists without its record.
  func recordPool(_ identity: FileIdentity, _ digest: Digest) throws(Errno) {
    try write(poolLine(identity), to: poolPath(digest))
  }

  /// Marks a pool file untrusted, regardless of its size and modification time.
  func doubtPool(_ digest: Digest) throws(Errno) { try write("damaged\n", to: poolPath(digest)) }

  /// Removes the record of a pool file.
  func removePool(_ digest: Digest) { try? Disk.remove(poolPath(digest)) }

  private func read(_ path: FilePath) -> String? {
    // A record that cannot be read counts as absent: the file is hashed again.
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
