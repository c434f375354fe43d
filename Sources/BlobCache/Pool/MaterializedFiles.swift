package import Content
import Glibc
package import OCI
import Locking
import SystemPackage
package import Disk

/// Copies of files inside tars and archives, so that the kernel can read them by passthrough
/// (docs/local-registry.md, "Materialized files").
///
/// Only verified bytes are copied. The name of a copy identifies its content; the record beside it has the
/// inode, size and modification time, so that a truncated or modified copy is not used.
package final class MaterializedFiles: Sendable {
  /// A part of a blob.
  package struct Part: Sendable, Hashable {
    package let blob: Digest
    /// Offset in the blob in bytes.
    package let offset: Int64
    package let size: Int64

    /// Creates a part.
    ///
    /// - Parameters:
    ///   - blob: The digest of the blob.
    ///   - offset: The offset of the first byte.
    ///   - size: The size in bytes.
    package init(blob: Digest, offset: Int64, size: Int64) {
      self.blob = blob
      self.offset = offset
      self.size = size
    }
  }

  private let root: RegistryRoot
  private let running = Mutex<Set<Part>>([])

  /// Creates the store of a root's copies.
  package init(root: RegistryRoot) { self.root = root }

  private func path(_ part: Part) -> FilePath {
    root.materialized.appending("\(part.blob.algorithm)-\(part.blob.hex)-\(part.offset)-\(part.size)")
  }

  private func record(_ part: Part) -> FilePath { FilePath(path(part).string + ".record") }

  private static func line(_ identity: FileIdentity) -> [UInt8] {
    Array("\(identity.inode) \(identity.size) \(identity.modified)\n".utf8)
  }

  /// Opens a copy, or returns nil if no usable one exists.
  package func find(_ part: Part) -> BlobFile? {
    guard let file = try? BlobFile.open(path(part)), file.size == part.size,
      let known = try? Disk.contents(of: record(part), limit: 256), known == Self.line(file.identity)
    else { return nil }
    return file
  }

  /// Returns the total size of all copies except one, in bytes.
  private func size(without path: FilePath) -> Int64 {
    let names = (try? Disk.names(in: root.materialized)) ?? []
    let paths = names.map { root.materialized.appending($0) }
    // A file that was removed meanwhile has no size.
    return paths.reduce(0) { $0 + ($1 == path ? 0 : (try? FileIdentity(at: $1))?.size ?? 0) }
  }

  /// Creates a copy, as a reflink if the file system supports it.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - part: The part to copy.
  ///   - source: The verified blob.
  ///   - limit: The maximum total size of all copies in bytes.
  /// - Returns: The copy, or nil if another thread is creating it.
  /// - Throws: `ContentError`; of code `unsupported` if the copy would exceed the limit.
  package func make(_ part: Part, from source: BlobFile, limit: Int64) throws(ContentError) -> BlobFile? {
    if let known = find(part) { return known }
    guard running.withLock({ $0.insert(part).inserted }) else { return nil }
    defer { running.withLock { _ = $0.remove(part) } }
    guard size(without: path(part)) + part.size <= limit else {
      throw ContentError(
        .unsupported,
        "\(path(part))",
        "a copy of \(part.size) bytes would exceed the \(limit) bytes of --materialize"
      )
    }
    let identity: FileIdentity
    do throws(Errno) {
      try Disk.createFolder(root.materialized)
      var file = try TemporaryFile(in: root.materialized, permissions: [.ownerRead, .groupRead, .otherRead])
      let output = file.descriptor
      let start = source.offset + part.offset
      if !Disk.clone(source.descriptor, start..<start + part.size, to: output) {
        try Disk.copy(source.descriptor, start..<start + part.size, to: output)
      }
      // A program may have modified the source during the copy.
      guard source.isInPlace else { throw .staleNFSFileHandle }
      identity = try FileIdentity(of: output)
      try file.rename(to: path(part))
    } catch {
      throw ContentError(.disk, "\(path(part))", error)
    }
    try root.replace(
      record(part),
      with: Self.line(identity),
      permissions: [.ownerReadWrite, .groupRead, .otherRead]
    )
    return find(part)
  }
}
