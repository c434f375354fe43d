import CFUSE
import Glibc

/// The right to answer one request, exactly once. One that is dropped answers EIO, so that a mistake is a failed call
/// and not a process that hangs.
// SAFETY: libfuse lets any thread answer a request; that it is answered once is what the type is for.
package struct FUSERequest: ~Copyable, @unchecked Sendable {
  private let pointer: fuse_req_t
  private var isAnswered = false

  init(_ pointer: fuse_req_t) { self.pointer = pointer }

  deinit {
    if !isAnswered { fuse_reply_err(pointer, EIO) }
  }

  /// The thread that asked; 0 where it cannot be seen from here.
  package var caller: Int32 { fuse_req_ctx(pointer)?.pointee.pid ?? 0 }

  /// The user who asks, as the kernel tells it.
  package var user: UInt32 { fuse_req_ctx(pointer)?.pointee.uid ?? UInt32.max }

  /// Answers with an error.
  ///
  /// - Parameter errno: positive; 0 for success without data.
  package consuming func error(_ errno: Int32) {
    isAnswered = true
    fuse_reply_err(pointer, errno)
  }

  /// Answers a look-up.
  ///
  /// - Parameter entry: whose node is 0 where the name is not there.
  package consuming func entry(_ entry: FUSEEntry) {
    isAnswered = true
    var parameters = entry.parameters
    fuse_reply_entry(pointer, &parameters)
  }

  /// Answers getattr.
  ///
  /// - Parameters:
  ///   - attributes: of the node.
  ///   - timeout: seconds the kernel may remember them.
  package consuming func attributes(_ attributes: FUSEAttributes, timeout: Double) {
    isAnswered = true
    var status = attributes.status
    fuse_reply_attr(pointer, &status, timeout)
  }

  /// Answers an open.
  ///
  /// - Parameters:
  ///   - handle: comes back with each request for what is open.
  ///   - keepsCache: pages of an earlier open are still right.
  ///   - backing: the number of a file that the kernel reads itself; nil where reads come to the daemon.
  /// - Returns: false where the kernel wants the answer no more, so that no close will come.
  package consuming func open(handle: UInt64, keepsCache: Bool, backing: Int32? = nil) -> Bool {
    isAnswered = true
    return cfuse_reply_open(pointer, handle, keepsCache ? 1 : 0, backing ?? 0) == 0
  }

  /// Answers with bytes.
  ///
  /// - Parameter bytes: all of the answer.
  package consuming func bytes(_ bytes: UnsafeRawBufferPointer) {
    isAnswered = true
    fuse_reply_buf(pointer, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
  }

  /// Answers readlink.
  ///
  /// - Parameter target: without NUL.
  package consuming func link(_ target: [UInt8]) {
    isAnswered = true
    let text = target.map { CChar(bitPattern: $0) } + [0]
    fuse_reply_readlink(pointer, text)
  }

  /// Answers getxattr and listxattr, which ask for the size first.
  ///
  /// - Parameters:
  ///   - value: all of it.
  ///   - size: that the caller has room for; 0 to ask.
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
  ///
  /// - Parameter statistics: of a disk.
  package consuming func statistics(_ statistics: FUSEStatistics) {
    isAnswered = true
    var status = statistics.status
    fuse_reply_statfs(pointer, &status)
  }

  /// Answers readdir and readdirplus.
  ///
  /// - Parameter buffer: filled for this request.
  package consuming func directory(_ buffer: consuming FUSEDirectoryBuffer) {
    isAnswered = true
    _ = buffer.bytes.withUnsafeBufferPointer { fuse_reply_buf(pointer, $0.baseAddress, buffer.count) }
  }

  /// A buffer for the entries of a folder.
  ///
  /// - Parameters:
  ///   - size: bytes that the caller has room for.
  ///   - hasAttributes: for readdirplus.
  package func makeDirectoryBuffer(size: Int, hasAttributes: Bool) -> FUSEDirectoryBuffer {
    FUSEDirectoryBuffer(request: pointer, size: size, hasAttributes: hasAttributes)
  }

  /// Gives the request away as a number, to be answered by `FUSEReads`.
  package consuming func token() -> UInt {
    isAnswered = true
    return UInt(bitPattern: pointer)
  }
}

/// Answers to reads by number, without an object for each.
package enum FUSEReads {
  /// Answers with a range of a file.
  ///
  /// - Parameters:
  ///   - token: from `FUSERequest.token`, used once.
  ///   - descriptor: of the file.
  ///   - offset: bytes.
  ///   - count: bytes; they are there.
  ///   - keepsPages: false where the pages of the file are of no use once the reader has theirs.
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
  ///   - token: used once.
  ///   - bytes: all of the answer.
  package static func answer(_ token: UInt, bytes: UnsafeRawBufferPointer) {
    guard let request = fuse_req_t(bitPattern: token) else { return }
    fuse_reply_buf(request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
  }

  /// Answers with an error.
  ///
  /// - Parameters:
  ///   - token: used once.
  ///   - errno: positive.
  package static func answer(_ token: UInt, errno: Int32) {
    guard let request = fuse_req_t(bitPattern: token) else { return }
    fuse_reply_err(request, errno)
  }
}
