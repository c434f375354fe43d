import Archive
package import Content
import Hashing
import OCI
package import SystemPackage
import Disk

/// Writes an artifact as an oci-archive in one pass: `oci-layout` and `index.json` first, then the blobs in
/// the order of their digests; the same artifact always gives the same bytes.
package struct ArchiveWriter {
  private let name: String
  private let contents: ArtifactContents

  /// Prepares an archive.
  ///
  /// - Parameters:
  ///   - contents: The artifact, without a missing blob.
  ///   - name: The full reference, for `org.opencontainers.image.ref.name`.
  package init(_ contents: ArtifactContents, name: String) {
    self.contents = contents
    self.name = name
  }

  private enum Source {
    case bytes([UInt8])
    case file(BlobFile)
  }

  /// Writes the archive.
  ///
  /// Blocks the calling thread. Every blob is hashed while it is written; wrong bytes make the write fail
  /// before the archive is finished.
  ///
  /// - Parameters:
  ///   - descriptor: The output, positioned at its end.
  ///   - progress: Called with the number of bytes of blobs that were written.
  /// - Throws: `ContentError`; of code `corrupt` if a blob does not match its digest.
  package func write(to descriptor: FileDescriptor, progress: (Int64) -> Void = { _ in }) throws(ContentError)
  {
    var members: [(name: String, digest: Digest, source: Source)] = contents.documents.map {
      ($0.descriptor.digest.layoutPath, $0.descriptor.digest, .bytes($0.bytes))
    }
    for (blob, file) in contents.blobs {
      if let file {
        members.append((blob.digest.layoutPath, blob.digest, .file(file)))
      } else if let data = blob.verifiedData {
        members.append((blob.digest.layoutPath, blob.digest, .bytes(data)))
      } else {
        throw ContentError(.notFound, "\(blob.digest)", "is missing, and an archive holds all blobs")
      }
    }
    members.sort { $0.name < $1.name }
    var entry = contents.top
    entry.annotations = [OCIDirectory.nameAnnotation: name]
    var failure: Errno?
    do {
      let head = [
        ("oci-layout", try JSONDocument.encode(LayoutMarker())),
        ("index.json", try JSONDocument.encode(Index(manifests: [entry]))),
      ]
      let writer = try TarWriter { bytes in
        do throws(Errno) {
          try Disk.append(descriptor, bytes)
          return true
        } catch {
          failure = error
          return false
        }
      }
      for (name, bytes) in head { try Self.write(bytes, name, writer) }
      for member in members {
        switch member.source {
        case .bytes(let bytes):
          try Self.write(bytes, member.name, writer)
          progress(Int64(bytes.count))
        case .file(let file): try Self.write(file, member.name, member.digest, writer, progress)
        }
      }
      try writer.finish()
    } catch let error as ContentError {
      throw error
    } catch {
      if let failure { throw ContentError(.disk, name, failure) }
      throw ContentError(.disk, name, "cannot write the archive: \(error)")
    }
  }

  private static func write(_ bytes: [UInt8], _ name: String, _ writer: TarWriter) throws(ArchiveError) {
    try writer.begin(name, size: Int64(bytes.count))
    let result: Result<Void, ArchiveError> = bytes.withUnsafeBytes { buffer in
      do throws(ArchiveError) {
        return .success(try writer.write(buffer))
      } catch {
        return .failure(error)
      }
    }
    try result.get()
  }

  private static func write(
    _ file: BlobFile,
    _ name: String,
    _ digest: Digest,
    _ writer: TarWriter,
    _ progress: (Int64) -> Void
  ) throws {
    try writer.begin(name, size: file.size)
    var stream = HashStream(digest.algorithm)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var position: Int64 = 0
    while position < file.size {
      let count = try file.read(into: buffer, at: position)
      guard count > 0 else {
        throw ContentError(.corrupt, "\(digest)", host: "\(file.path)", "the file is shorter than the blob")
      }
      let piece = UnsafeRawBufferPointer(rebasing: buffer[..<count])
      stream.update(piece)
      try writer.write(piece)
      position += Int64(count)
      progress(Int64(count))
    }
    let actual = stream.finish()
    guard actual == digest else {
      throw ContentError(
        .corrupt,
        "\(digest)",
        host: "\(file.path)",
        "the bytes of the blob have the digest \(actual)",
        advice: "Run 'weightfs verify --repair' on the artifact"
      )
    }
  }
}
