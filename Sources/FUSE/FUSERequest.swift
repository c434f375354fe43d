import CFUSE
import Glibc

/// The obligation to answer one request exactly once.
///
/// A request that is dropped is answered with EIO, so that a bug causes a failed call rather than a process
/// that hangs.
// SAFETY: libfuse allows any thread to answer a request; the type guarantees a single answer.
package struct FUSERequest: ~Copyable, @unchecked Sendable {
  private let pointer: fuse_req_t
  private var isAnswered = false

  init(_ pointer: fuse_req_t) { self.pointer = pointer }

  deinit {
    if !isAnswered { fuse_reply_err(pointer, EIO) }
  }

  /// The thread that sent the request; 0 if it is in another PID namespace.
  package var caller: Int32 { fuse_req_ctx(pointer)?.pointee.pid ?? 0 }

  /// The user who sent the request, according to the kernel.
  package var user: UInt32 { fuse_req_ctx(pointer)?.pointee.uid ?? UInt32.max }

  /// Answers with an error.
  ///
  /// - Parameter errno: A positive errno; 0 for success without data.
  package consuming func error(_ errno: Int32) {
    isAnswered = true
    fuse_reply_err(pointer, errno)
  }

  /// Answers a look-up.
  ///
  /// - Parameter entry: The entry; its node is 0 if the name does not exist.
  package consuming func entry(_ entry: FUSEEntry) {
    isAnswered = true
    var parameters = entry.parameters
    fuse_reply_entry(pointer, &parameters)
  }

  /// Answers getattr.
  ///
  /// - Parameters:
  ///   - attributes: The attributes of the node.
  ///   - timeout: How long the kernel may cache them, in seconds.
  package consuming func attributes(_ attributes: FUSEAttributes, timeout: Double) {
    isAnswered = true
    var status = attributes.status
    fuse_reply_attr(pointer, &status, timeout)
  }

  /// Answers an open.
  ///
  /// - Parameters:
  ///   - handle: Passed by the kernel with each request for the open file.
  ///   - keepsCache: Whether pages of an earlier open are still valid.
  ///   - backing: The number of the backing file that the kernel reads; nil if the daemon serves the reads.
  /// - Returns: False if the kernel has dropped the request, so that no close will follow.
  package consuming func open(handle: UInt64, keepsCache: Bool, backing: Int32? = nil) -> Bool {
    isAnswered = true
    return cfuse_reply_open(pointer, handle, keepsCache ? 1 : 0, backing ?? 0) == 0
  }

  /// Answers with bytes.
  ///
  /// - Parameter bytes: The complete answer.
  package consuming func bytes(_ bytes: UnsafeRawBufferPointer) {
    isAnswered = true
    fuse_reply_buf(pointer, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
  }

  /// Answers readlink.
  ///
  /// - Parameter target: Without NUL.
  package consuming func link(_ target: [UInt8]) {
    isAnswered = true
    let text = target.map { CChar(bitPattern: $0) } + [0]
    fuse_reply_readlink(pointer, text)
  }

  /// Answers getxattr and listxattr, which may ask only for the size.
  ///
  /// - Parameters:
  ///   - value: The complete value.
  ///   - size: The size of the caller's buffer; 0 to return only the size of the value.
  package consuming func attribute(_ value: [UInt8], size: Int) {
    isAnswered = true
    if size == 0 {
      fuse_reply_xattr(pointer, value.count)
    } else if size < value.count {
      fuse_reply_err(pointer, ERANGE)
    } else {
      _ = value.withUnsafeBytes { bytes in
        fuse_reply_buf(pointer, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
      }
    }
  }

  /// Answers statfs.
  package consuming func statistics(_ statistics: FUSEStatistics) {
    isAnswered = true
    var status = statistics.status
    fuse_reply_statfs(pointer, &status)
  }

  /// Answers readdir and readdirplus.
  ///
  /// - Parameter buffer: A buffer that was made by this request.
  package consuming func directory(_ buffer: consuming FUSEDirectoryBuffer) {
    isAnswered = true
    _ = buffer.bytes.withUnsafeBufferPointer { fuse_reply_buf(pointer, $0.baseAddress, buffer.count) }
  }

  /// Creates a buffer for the entries of a directory.
  ///
  /// - Parameters:
  ///   - size: The size of the caller's buffer in bytes.
  ///   - hasAttributes: Whether the request is readdirplus.
  package func makeDirectoryBuffer(size: Int, hasAttributes: Bool) -> FUSEDirectoryBuffer {
    FUSEDirectoryBuffer(request: pointer, size: size, hasAttributes: hasAttributes)
  }

  /// Converts the request to a number, to be answered with `FUSEReads`.
  package consuming func token() -> UInt {
    isAnswered = true
    return UInt(bitPattern: pointer)
  }
}

/// Answers reads by number, without allocating an object for each.
package enum FUSEReads {
  /// Answers with a range of a file.
  ///
  /// - Parameters:
  ///   - token: From `FUSERequest.token`, used once.
  ///   - descriptor: The file.
  ///   - offset: The offset in bytes.
  ///   - count: The number of bytes, all of them present.
  ///   - keepsPages: False if the file's pages are useless once the reader has the bytes.
  package static func answer(
    _ token: UInt,
    file descriptor: Int32,
    offset: Int64,
    count: Int,
    keepsPages: Bool
  ) {
    guard let request = fuse_req_t(bitPattern: token) else { return }
    cfuse_reply_file(request, descriptor, offset, count, keepsPages ? 1 : 0)
  }

  /// Answers with bytes.
  ///
  /// - Parameters:
  ///   - token: Used once.
  ///   - bytes: The complete answer.
  package static func answer(_ token: UInt, bytes: UnsafeRawBufferPointer) {
    guard let request = fuse_req_t(bitPattern: token) else { return }
    fuse_reply_buf(request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
  }

  /// Answers with an error.
  ///
  /// - Parameters:
  ///   - token: Used once.
  ///   - errno: A positive errno.
  package static func answer(_ token: UInt, errno: Int32) {
    guard let request = fuse_req_t(bitPattern: token) else { return }
    fuse_reply_err(request, errno)
  }
}
