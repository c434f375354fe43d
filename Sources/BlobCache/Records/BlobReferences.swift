import Content
import Glibc
package import OCI
package import SystemPackage
import Disk

/// Which references hold a blob, and when it was last used (docs/local-registry.md, "References of a blob").
///
/// One small file a blob, so that who touches an artifact touches its own files alone: a line for each reference whose
/// layout wants the blob; the time of writing is the last use. A line whose layout is gone means nothing.
package struct BlobReferences {
  private static let limit = 4 << 20
  let root: RegistryRoot

  package init(root: RegistryRoot) { self.root = root }

  private func path(_ digest: Digest) -> FilePath {
    root.references.appending("\(digest.algorithm)-\(digest.hex)")
  }

  /// The digests that some reference was noted for.
  func digests() throws(Errno) -> [Digest] {
    try Disk.names(in: root.references).compactMap { name in
      name.firstIndex(of: "-").flatMap { Digest("\(name[..<$0]):\(name[name.index(after: $0)...])") }
    }
  }

  /// The references of a blob, each once; nil where they cannot be read.
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
      (try? Reference(parsing: String(line))).flatMap { seen.insert($0).inserted ? $0 : nil }
    }
  }

  /// The references of a blob, as far as they can be read.
  package func references(of digest: Digest) -> [Reference] { known(of: digest) ?? [] }

  /// Held while a blob's names are made or removed, and while its references are written.
  private func lock(_ digest: Digest) throws(Errno) -> FileLock {
    try FileLock(waitingFor: root.locks.appending("partial-\(digest.hex)"))
  }

  /// Notes that a reference holds a blob; that is a use.
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
    defer { try? file.close() }
    // One write at the end of the file: lines of two processes do not mix.
    let line = Array("\(reference)\n".utf8)
    let count = line.withUnsafeBytes { Glibc.write(file.rawValue, $0.baseAddress, $0.count) }
    guard count == line.count else { throw count < 0 ? Errno(rawValue: errno) : Errno.noSpace }
  }

  /// Takes a reference out.
  ///
  /// An empty file marks the blob as unreferenced, until the blob is removed. A blob that nothing was noted for stays so.
  ///
  /// - Returns: how many are left.
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

  /// Notes that a blob is there, whoever has it: one that nobody has may go.
  func note(_ digest: Digest) {
    let options: FileDescriptor.OpenOptions = [.create, .closeOnExec]
    let file = try? Disk.open(
      path(digest),
      .writeOnly,
      options: options,
      permissions: [.ownerReadWrite, .groupRead, .otherRead]
    )
    try? file?.close()
  }

  /// Whether it is known that no reference has a blob.
  package func isNobodys(_ digest: Digest) -> Bool {
    lastUse(digest) != nil && known(of: digest)?.isEmpty ?? false
  }

  /// Forgets a blob.
  package func remove(_ digest: Digest) { try? Disk.remove(path(digest)) }

  /// Notes a use.
  func touch(_ digest: Digest) {
    // A blob without references is of no artifact of this root: nothing to note.
    Disk.touch(path(digest))
  }

  /// When a blob was last used, nanoseconds since 1970.
  package func lastUse(_ digest: Digest) -> Int64? { (try? FileIdentity(at: path(digest)))?.modified }
}
