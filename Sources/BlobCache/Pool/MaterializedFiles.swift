package import Content
import CLinux
import Glibc
package import OCI
import Locking
import SystemPackage
package import Disk

/// Copies of what lies inside a tar or an archive, as files of their own, so that the kernel can read them itself
/// (docs/local-registry.md, "Materialized files").
///
/// A copy is made of verified bytes alone. Its name says what it holds; a record beside it says what it was when it was
/// finished, so that one that was cut or written to since is not used.
package final class MaterializedFiles: Sendable {
  /// A part of a blob.
  package struct Part: Sendable, Hashable {
    package let blob: Digest
    /// In the blob, bytes.
    package let offset: Int64
    package let size: Int64

    /// Names a part.
    ///
    /// - Parameters:
    ///   - blob: whose.
    ///   - offset: of its first byte.
    ///   - size: in bytes.
    package init(blob: Digest, offset: Int64, size: Int64) {
      self.blob = blob
      self.offset = offset
      self.size = size
    }
  }

  private let root: RegistryRoot
  private let running = Mutex<Set<Part>>([])

  /// The copies of a root.
  ///
  /// - Parameter root: of the local registry.
  package init(root: RegistryRoot) { self.root = root }

  private func path(_ part: Part) -> FilePath {
    root.materialized.appending("\(part.blob.algorithm)-\(part.blob.hex)-\(part.offset)-\(part.size)")
  }

  private func record(_ part: Part) -> FilePath { FilePath(path(part).string + ".record") }

  private static func line(_ identity: FileIdentity) -> [UInt8] {
    Array("\(identity.inode) \(identity.size) \(identity.modified)\n".utf8)
  }

  /// Opens a copy.
  ///
  /// - Parameter part: of a blob.
  /// - Returns: nil where there is none that can be used.
  package func find(_ part: Part) -> BlobFile? {
    guard let file = try? BlobFile.open(path(part)), file.size == part.size,
      let known = try? Disk.contents(of: record(part), limit: 256), known == Self.line(file.identity)
    else { return nil }
    return file
  }

  /// Bytes of all copies but one.
  private func size(without path: FilePath) -> Int64 {
    let names = (try? Disk.names(in: root.materialized)) ?? []
    let paths = names.map { root.materialized.appending($0) }
    return paths.reduce(0) { $0 + ($1 == path ? 0 : (try? FileIdentity(at: $1))?.size ?? 0) }
  }

  /// Makes a copy, by reflink where the file system can.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - part: of a blob.
  ///   - source: the verified blob.
  ///   - limit: of all copies together, bytes.
  /// - Returns: the copy; nil where somebody else is making it.
  /// - Throws: `ContentError`; `unsupported` where the limit leaves no room.
  package func make(_ part: Part, from source: BlobFile, limit: Int64) throws(ContentError) -> BlobFile? {
    if let known = find(part) { return known }
    guard running.withLock({ $0.insert(part).inserted }) else { return nil }
    defer { running.withLock { _ = $0.remove(part) } }
    guard size(without: path(part)) + part.size <= limit else {
      throw ContentError(
        .unsupported,
        "\(path(part))",
        "\(part.size) bytes more would be more than the \(limit) bytes of --materialize"
      )
    }
    let identity: FileIdentity
    do throws(Errno) {
      try Disk.createFolder(root.materialized)
      var file = try TemporaryFile(in: root.materialized, permissions: [.ownerRead, .groupRead, .otherRead])
      let output = file.descriptor
      if try !clone(part, source, output) {
        let start = source.offset + part.offset
        try Disk.copy(source.descriptor, start..<start + part.size, to: output)
      }
      // Somebody may have written to the source while it was copied.
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

  /// Shares the bytes with the source; false where the file system cannot, as where they do not begin with a block.
  private func clone(_ part: Part, _ source: BlobFile, _ output: FileDescriptor) throws(Errno) -> Bool {
    clinux_clone_range(
      output.rawValue,
      source.descriptor.rawValue,
      UInt64(source.offset + part.offset),
      UInt64(part.size)
    ) == 0
  }
}
