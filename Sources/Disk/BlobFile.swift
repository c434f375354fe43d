import CLinux
package import Content
import Glibc
import Hashing
package import OCI
package import SystemPackage

/// An open file that holds a complete blob: as a file of its own, or as a range of an archive.
package final class BlobFile: Sendable {
  /// The descriptor of the file; open for the lifetime of this object.
  package let descriptor: FileDescriptor
  /// Offset of the blob's first byte in the file.
  package let offset: Int64
  /// Size of the blob in bytes.
  package let size: Int64
  package let path: FilePath
  package let identity: FileIdentity
  /// Whether the file is a copy in memory without a path.
  package let isInMemory: Bool

  /// Creates an object that owns an open file.
  ///
  /// - Parameters:
  ///   - descriptor: Closed with this object.
  ///   - offset: The offset of the blob in the file.
  ///   - size: The size of the blob in bytes.
  ///   - path: The path, for messages.
  ///   - identity: The identity of the file.
  ///   - isInMemory: Whether the file has no path.
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

  deinit { Disk.close(descriptor) }

  /// Reads bytes of the blob.
  ///
  /// - Parameters:
  ///   - buffer: Filled from its start, up to the end of the blob.
  ///   - position: The offset in the blob.
  /// - Returns: The number of bytes read.
  /// - Throws: `Errno`.
  package func read(into buffer: UnsafeMutableRawBufferPointer, at position: Int64) throws(Errno) -> Int {
    let count = Int(max(0, min(Int64(buffer.count), size - position)))
    return try Disk.read(
      descriptor,
      into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]),
      at: offset + position
    )
  }

  /// Returns up to `count` bytes from a position on; fewer if the file ends or cannot be read.
  package func firstBytes(_ count: Int, at position: Int64) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let got = bytes.withUnsafeMutableBytes { (try? read(into: $0, at: position)) ?? 0 }
    return Array(bytes.prefix(got))
  }

  /// Reads bytes of an open file.
  ///
  /// - Parameters:
  ///   - descriptor: The file.
  ///   - buffer: Filled from its start.
  ///   - offset: The offset in the file.
  /// - Returns: The number of bytes read; fewer if the file ends or an error occurs.
  package static func read(
    _ descriptor: Int32,
    into buffer: UnsafeMutableRawBufferPointer,
    at offset: Int64
  ) -> Int {
    // Fewer bytes than asked for are the caller's to report.
    (try? Disk.read(FileDescriptor(rawValue: descriptor), into: buffer, at: offset)) ?? 0
  }

  /// Hashes the blob.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - algorithm: The digest algorithm.
  ///   - progress: Called with the number of bytes read.
  /// - Throws: `Errno`; `ioError` if the file is shorter than the blob.
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

  /// Creates a blob in memory from a generated document.
  ///
  /// - Parameters:
  ///   - bytes: The complete content.
  ///   - path: The path that the document was generated from, for messages.
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
        Disk.close(descriptor)
        throw error
      }
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
  }

  /// Whether the path still refers to this file, unmodified since it was opened.
  package var isInPlace: Bool { isInMemory || (try? FileIdentity(at: path)) == identity }

  /// Opens a blob's file in a layout, or returns nil if it does not exist.
  ///
  /// - Parameter path: The path of a regular file, not of a symbolic link.
  /// - Throws: `ContentError` that names the path.
  package static func inLayout(_ path: FilePath) throws(ContentError) -> BlobFile? {
    do throws(Errno) {
      return try open(path)
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
  }

  /// Opens a blob's file, or returns nil if it does not exist.
  ///
  /// - Parameter path: The path of a regular file, not of a symbolic link.
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
        Disk.close(descriptor)
        throw error
      }
    } catch .noSuchFileOrDirectory {
      return nil
    }
  }
}
