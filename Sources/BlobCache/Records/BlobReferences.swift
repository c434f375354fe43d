import Content
import Glibc
package import OCI
package import SystemPackage
import Disk

/// Records which references have a blob, and when it was last used (docs/local-registry.md, "References of a
/// blob").
///
/// One small file per blob, so that using an artifact touches only the files of its own blobs: one line per
/// reference whose layout has the blob; the modification time is the last use. A line whose layout no longer
/// exists is ignored.
package struct BlobReferences {
  private static let limit = 4 << 20
  let root: RegistryRoot

  package init(root: RegistryRoot) { self.root = root }

  private func path(_ digest: Digest) -> FilePath {
    root.references.appending("\(digest.algorithm)-\(digest.hex)")
  }

  /// Returns the digests that have a record.
  func digests() throws(Errno) -> [Digest] {
    try Disk.names(in: root.references).compactMap { name in
      name.firstIndex(of: "-").flatMap { Digest("\(name[..<$0]):\(name[name.index(after: $0)...])") }
    }
  }

  /// Returns the references of a blob, each once, or nil if they cannot be read.
  package func known(of digest: Digest) -> [Reference]? {
    let read: [UInt8]??
    do throws(ContentError) {
      read = try Disk.contents(of: path(digest), limit: Self.limit)
    } catch {
      read = nil
    }
    guard let read else { return nil }
    guard let bytes = read else { return [] }
    var seen: Set<Reference> = []
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
      // A line that another version wrote is skipped.
      (try? Reference(parsing: String(line))).flatMap { seen.insert($0).inserted ? $0 : nil }
    }
  }

  /// Returns the references of a blob, or none if they cannot be read.
  package func references(of digest: Digest) -> [Reference] { known(of: digest) ?? [] }

  /// Takes the lock for creating and removing a blob's names, and for writing its references.
  private func lock(_ digest: Digest) throws(Errno) -> FileLock {
    try FileLock(waitingFor: root.locks.appending("partial-\(digest.hex)"))
  }

  /// Records that a reference has a blob; this counts as a use.
  package func add(_ reference: Reference, to digest: Digest) throws(Errno) {
    let reference = reference.stored
    let lock = try lock(digest)
    defer { withExtendedLifetime(lock) {} }
    if references(of: digest).contains(reference) { return touch(digest) }
    let file = try Disk.open(
      path(digest),
      .writeOnly,
      options: [.create, .append, .closeOnExec],
      permissions: [.ownerReadWrite, .groupRead, .otherRead]
    )
    defer { Disk.close(file) }
    // One append per line, so that lines of two processes do not interleave.
    let line = Array("\(reference)\n".utf8)
    let count = line.withUnsafeBytes { Glibc.write(file.rawValue, $0.baseAddress, $0.count) }
    guard count == line.count else { throw count < 0 ? Errno(rawValue: errno) : Errno.noSpace }
  }

  /// Removes a reference from a blob's record.
  ///
  /// An empty file marks the blob as unreferenced until the blob is removed. A blob without a record stays
  /// without one.
  ///
  /// - Returns: The number of remaining references.
  package func remove(_ reference: Reference, from digest: Digest) throws(Errno) -> Int {
    let reference = reference.stored
    guard Disk.exists(path(digest)) else { return 0 }
    let lock = try lock(digest)
    defer { withExtendedLifetime(lock) {} }
    let left = references(of: digest).filter { $0 != reference }
    let text = left.map { "\($0)\n" }.joined()
    do throws(ContentError) {
      try root.replace(path(digest), with: Array(text.utf8))
    } catch {
      throw error.isDiskFull ? Errno.noSpace : Errno.ioError
    }
    return left.count
  }

  /// Creates the record of a blob, without a reference, if it has none: an unreferenced blob can be evicted.
  func note(_ digest: Digest) {
    let options: FileDescriptor.OpenOptions = [.create, .closeOnExec]
    let file = try? Disk.open(
      path(digest),
      .writeOnly,
      options: options,
      permissions: [.ownerReadWrite, .groupRead, .otherRead]
    )
    file.map(Disk.close)
  }

  /// Whether a record exists that lists no reference for the blob.
  package func isNobodys(_ digest: Digest) -> Bool {
    lastUse(digest) != nil && known(of: digest)?.isEmpty ?? false
  }

  /// Removes the record of a blob.
  package func remove(_ digest: Digest) { try? Disk.remove(path(digest)) }

  /// Records a use.
  func touch(_ digest: Digest) {
    // A blob without a record belongs to no artifact of this root: nothing to do.
    Disk.touch(path(digest))
  }

  /// Returns when a blob was last used, in nanoseconds since 1970.
  package func lastUse(_ digest: Digest) -> Int64? { (try? FileIdentity(at: path(digest)))?.modified }
}
