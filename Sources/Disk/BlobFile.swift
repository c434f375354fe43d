import CLinux
package import Content
import Glibc
import Hashing
package import OCI
package import SystemPackage

/// An open file that holds a blob, whole: a file of its own, or a range of an archive.
package final class BlobFile: Sendable {
  /// Of the file, open as long as this object lives.
  package let descriptor: FileDescriptor
  /// Of the blob's first byte in the file.
  package let offset: Int64
  /// Of the blob, bytes.
  package let size: Int64
  package let path: FilePath
  package let identity: FileIdentity
  /// It is a copy in memory, which no path leads to.
  package let isInMemory: Bool

  /// Takes an open file over.
  ///
  /// - Parameters:
  ///   - descriptor: closed with this object.
  ///   - offset: of the blob in it.
  ///   - size: of the blob.
  ///   - path: for messages.
  ///   - identity: of the file.
  ///   - isInMemory: no path leads to it.
  package init(
    descriptor: FileDescriptor,
    offset: Int64,
    size: Int64,
    path: FilePath,
    identity: FileIdentity,
    isInMemory: Bool = false
  ) {
    self.isInMemory = isInMemory
    self.descriptor = descriptor
    self.offset = offset
    self.size = size
    self.path = path
    self.identity = identity
  }

  deinit { try? descriptor.close() }

  /// Reads bytes of the blob.
  ///
  /// - Parameters:
  ///   - buffer: filled from its start, up to the blob's end.
  ///   - position: in the blob.
  /// - Returns: how many were read.
  /// - Throws: `Errno`.
  package func read(into buffer: UnsafeMutableRawBufferPointer, at position: Int64) throws(Errno) -> Int {
    let count = Int(max(0, min(Int64(buffer.count), size - position)))
    return try Disk.read(
      descriptor,
      into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]),
      at: offset + position
    )
  }

  /// The first bytes from a position on, as far as they can be read.
  ///
  /// - Parameters:
  ///   - count: how many.
  ///   - position: in the blob.
  /// - Returns: fewer where the file ends or cannot be read.
  package func firstBytes(_ count: Int, at position: Int64) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let got = bytes.withUnsafeMutableBytes { (try? read(into: $0, at: position)) ?? 0 }
    return Array(bytes.prefix(got))
  }

  /// Reads bytes of an open file; fewer where it ends or fails.
  ///
  /// - Parameters:
  ///   - descriptor: of the file.
  ///   - buffer: filled from its start.
  ///   - offset: in the file.
  /// - Returns: how many were read.
  package static func read(
    _ descriptor: Int32,
    into buffer: UnsafeMutableRawBufferPointer,
    at offset: Int64
  ) -> Int {
    (try? Disk.read(FileDescriptor(rawValue: descriptor), into: buffer, at: offset)) ?? 0
  }

  /// Hashes the blob.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - algorithm: what to compute.
  ///   - progress: told the bytes that were read.
  /// - Returns: the digest.
  /// - Throws: `Errno`; `ioError` where the file ends too early.
  package func digest(
    _ algorithm: Digest.Algorithm,
    progress: (Int64) -> Void = { _ in }
  ) throws(Errno) -> Digest {
    var stream = HashStream(algorithm)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var position: Int64 = 0
    while position < size {
      let count = try read(into: buffer, at: position)
      guard count > 0 else { throw Errno.ioError }
      stream.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      position += Int64(count)
      progress(Int64(count))
    }
    return stream.finish()
  }

  /// A blob that is no file anywhere: a document that was made.
  ///
  /// - Parameters:
  ///   - bytes: all of it.
  ///   - path: what it was made from, for messages.
  /// - Returns: a file in memory.
  /// - Throws: `ContentError`.
  package static func holding(_ bytes: [UInt8], path: FilePath) throws(ContentError) -> BlobFile {
    do throws(Errno) {
      let number = clinux_memory_file("weightfs")
      guard number >= 0 else { throw Errno(rawValue: -number) }
      let descriptor = FileDescriptor(rawValue: number)
      do throws(Errno) {
        try Disk.write(descriptor, bytes, at: 0)
        return BlobFile(
          descriptor: descriptor,
          offset: 0,
          size: Int64(bytes.count),
          path: path,
          identity: try FileIdentity(of: descriptor),
          isInMemory: true
        )
      } catch {
        try? descriptor.close()
        throw error
      }
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
  }

  /// Whether the path still leads to this file, as it was when it was opened.
  package var isInPlace: Bool { isInMemory || (try? FileIdentity(at: path)) == identity }

  /// Opens a file that is a blob, for a layout.
  ///
  /// - Parameter path: of a regular file, not of a symbolic link.
  /// - Returns: nil where there is none.
  /// - Throws: `ContentError` that names the path.
  package static func inLayout(_ path: FilePath) throws(ContentError) -> BlobFile? {
    do throws(Errno) {
      return try open(path)
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
  }

  /// Opens a file that is a blob.
  ///
  /// - Parameter path: of a regular file, not of a symbolic link.
  /// - Returns: nil where there is none.
  /// - Throws: `Errno`.
  package static func open(_ path: FilePath) throws(Errno) -> BlobFile? {
    do throws(Errno) {
      let descriptor = try Disk.open(path, .readOnly, options: [.closeOnExec, .noFollow, .nonBlocking])
      do throws(Errno) {
        let identity = try FileIdentity(of: descriptor)
        guard identity.isRegular else { throw Errno.invalidArgument }
        return BlobFile(
          descriptor: descriptor,
          offset: 0,
          size: identity.size,
          path: path,
          identity: identity
        )
      } catch {
        try? descriptor.close()
        throw error
      }
    } catch .noSuchFileOrDirectory {
      return nil
    }
  }
}
