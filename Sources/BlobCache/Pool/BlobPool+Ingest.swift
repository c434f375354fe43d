import CLinux
package import Content
import Glibc
import Hashing
package import OCI
import SystemPackage
package import Disk

extension BlobPool {
  /// Copies a blob of a layout outside of the pool into it, hashing it on the way.
  ///
  /// Blocks. The bytes are shared with the source where the file system can do that; other programs write to files that
  /// are not the pool's, so they are never linked.
  ///
  /// - Parameters:
  ///   - file: of the layout.
  ///   - digest: of its bytes.
  ///   - progress: told the bytes that were read.
  /// - Throws: `ContentError`; `corrupt` where the bytes are not what the digest says.
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
        "the blob's bytes are not what its digest says",
        advice: "Make the layout anew; nothing of it was taken over"
      )
    } catch {
      throw ContentError(.disk, "\(root.blob(digest))", error)
    }
  }
}
