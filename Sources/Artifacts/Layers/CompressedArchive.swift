import Archive
import ArtifactTree
import Content
import Disk
import OCI
import SystemPackage

/// A compressed archive on this machine, read like a layer.
final class CompressedArchive: WholeLayerReader {
  /// The digest and size of the file.
  let descriptor: Descriptor
  let compression: Compression
  private let file: BlobFile

  /// Opens and hashes a file.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameter path: A file, or anything else.
  /// - Throws: `ContentError` if a compressed file cannot be read.
  /// - Returns: nil if the path is not that of a compressed file.
  init?(_ path: FilePath) throws(ContentError) {
    guard Disk.isFile(path) else { return nil }
    do throws(Errno) {
      // Unlike a blob's file, an archive may be named by a symbolic link.
      let open = try Disk.open(path, .readOnly, options: [.closeOnExec, .nonBlocking])
      let identity = try FileIdentity(of: open)
      let file = BlobFile(descriptor: open, offset: 0, size: identity.size, path: path, identity: identity)
      var first = [UInt8](repeating: 0, count: 4)
      // A file that cannot be read fails when it is opened as an archive.
      _ = first.withUnsafeMutableBytes { try? file.read(into: $0, at: 0) }
      guard let compression = ArchiveFormat(first: first)?.compression else { return nil }
      self.file = file
      self.compression = compression
      descriptor = Descriptor(
        mediaType: MediaType(rawValue: "application/octet-stream"),
        digest: try file.digest(.sha256),
        size: file.size
      )
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
  }

  func read(
    _ layer: Descriptor,
    into buffer: UnsafeMutableRawBufferPointer,
    at offset: Int64
  ) throws(ContentError) -> Int {
    do throws(Errno) {
      return try file.read(into: buffer, at: offset)
    } catch {
      throw ContentError(.disk, "\(file.path)", error)
    }
  }

  func startCompleting(_ layer: Descriptor) {}
}
