import CLinux
package import Content
import Glibc
import Hashing
package import OCI
import SystemPackage
package import Disk

extension BlobPool {
  /// Copies a blob of a layout outside of the pool into the pool, hashing it at the same time.
  ///
  /// Blocks the calling thread. The copy is a reflink if the file system supports it, never a hard link:
  /// other programs may write to files outside of the pool.
  ///
  /// - Parameters:
  ///   - file: The blob's file in the layout.
  ///   - digest: The expected digest.
  ///   - progress: Called with the number of bytes read.
  /// - Throws: `ContentError`; of code `corrupt` if the bytes do not match the digest.
  package func ingest(_ file: BlobFile, _ digest: Digest, progress: (Int64) -> Void) throws(ContentError) {
    let descriptor = Descriptor(mediaType: MediaType(rawValue: ""), digest: digest, size: file.size)
    if case .file(_, isVerified: true) = try complete(descriptor) {
      progress(file.size)
      return
    }
    do throws(Errno) {
      var output = try TemporaryFile(in: root.temporary, permissions: [.ownerRead, .groupRead, .otherRead])
      let isShared =
        file.offset == 0 && ioctl(output.descriptor.rawValue, clinux_ficlone, file.descriptor.rawValue) == 0
      var stream = HashStream(digest.algorithm)
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
      defer { buffer.deallocate() }
      var position: Int64 = 0
      while position < file.size {
        let count =
          isShared
          ? try Disk.read(output.descriptor, into: buffer, at: position)
          : try file.read(into: buffer, at: position)
        guard count > 0 else { break }
        let piece = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        stream.update(piece)
        if !isShared { try Disk.write(output.descriptor, piece, at: position) }
        position += Int64(count)
        progress(Int64(count))
      }
      let actual = stream.finish()
      guard position == file.size, actual == digest else { throw Errno.illegalByteSequence }
      try Disk.synchronize(output.descriptor)
      try adopt(&output, digest)
    } catch .illegalByteSequence {
      throw ContentError(
        .corrupt,
        "\(digest)",
        host: "\(file.path)",
        "the blob's bytes do not match its digest",
        advice: "Create the layout again; nothing was imported from it"
      )
    } catch {
      throw ContentError(.disk, "\(root.blob(digest))", error)
    }
  }

  /// Moves a file with the verified bytes of a blob into the pool.
  ///
  /// The blob is unreferenced, so that it can be evicted, until an artifact that has it is opened.
  ///
  /// - Parameters:
  ///   - file: The file, which loses its temporary name.
  ///   - digest: The digest of its bytes.
  /// - Throws: `ContentError`.
  package func keep(_ file: inout TemporaryFile, _ digest: Digest) throws(ContentError) {
    do throws(Errno) {
      BlobReferences(root: root).note(digest)
      try adopt(&file, digest)
    } catch {
      throw ContentError(.disk, "\(root.blob(digest))", error)
    }
  }
}
