import CFUSE
import Glibc
import Locking

/// A mounted file system and the threads that serve it.
// SAFETY: the pointer is libfuse's, whose session functions used here may be called by any thread.
package final class FUSESession: @unchecked Sendable {
  private let session: OpaquePointer
  let operations: any FUSEOperations

  /// Why a file system could not be mounted.
  package struct MountError: Error, Sendable, CustomStringConvertible {
    package let reason: String

    package var description: String { reason }
  }

  /// Mounts.
  ///
  /// - Parameters:
  ///   - path: of the mount point.
  ///   - options: in fuse's spelling, with commas between them.
  ///   - maximumRead: bytes that one request asks for at the most; what `max_read` of the options says.
  ///   - operations: the file system.
  /// - Throws: `MountError`.
  package init(
    mounting path: String,
    options: String,
    maximumRead: UInt32? = nil,
    operations: any FUSEOperations
  ) throws(MountError) {
    self.operations = operations
    var table = makeOperations()
    let user = SessionBox(operations, maximumRead: maximumRead)
    // SAFETY: released never: a session lives as long as the process.
    guard let session = cfuse_session_new(options, &table, Unmanaged.passRetained(user).toOpaque()) else {
      throw MountError(reason: "libfuse does not take the mount options '\(options)'")
    }
    self.session = session
    guard fuse_session_mount(session, path) == 0 else {
      throw MountError(
        reason:
          "\(path) cannot be mounted: /dev/fuse is needed, fusermount3 for users other than root, and "
          + "'user_allow_other' in /etc/fuse.conf for --allow-other"
      )
    }
    // Where it cannot be prepared the kernel is not asked for passthrough, and the daemon serves every read.
    cfuse_session_prepare(session)
  }

  /// Registers a file that the kernel may read itself.
  ///
  /// - Parameter descriptor: of an open file; it may be closed afterwards.
  /// - Returns: its number, for answers to opens; a negative errno where the kernel refuses.
  package func registerBacking(_ descriptor: Int32) -> Int32 { cfuse_backing_open(session, descriptor) }

  /// Takes a registration back; what is open goes on reading.
  ///
  /// - Parameter backing: from `registerBacking`.
  package func removeBacking(_ backing: Int32) { cfuse_backing_close(session, backing) }

  /// Serves until the file system is unmounted or `stop` is called.
  ///
  /// - Parameter threads: at the most.
  /// - Returns: 0, or a negative errno.
  package func run(threads: UInt32) -> Int32 { cfuse_session_loop(session, threads) }

  /// Unmounts; `run` returns then.
  ///
  /// Requests that are still to be answered are the kernel's to fail.
  package func unmount() {
    fuse_session_exit(session)
    fuse_session_unmount(session)
  }

  /// Takes the pages of nodes out of the kernel's cache.
  ///
  /// Blocks while reads of them are under way: never call it from a request.
  ///
  /// - Parameter node: its number.
  package func invalidate(_ node: UInt64) {
    // The kernel waits for pages that are being read; libfuse gives no time limit.
    fuse_lowlevel_notify_inval_inode(session, node, 0, 0)
  }
}

extension FUSESession {
  /// Takes a name out of the kernel's cache, and what lies behind it unless it is in use.
  ///
  /// Blocks while the folder is being read: never call it from a request.
  ///
  /// - Parameters:
  ///   - name: bytes without a zero byte.
  ///   - parent: the number of the folder.
  package func forgetName(_ name: [UInt8], in parent: UInt64) {
    name.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress?.assumingMemoryBound(to: CChar.self) else { return }
      fuse_lowlevel_notify_inval_entry(session, parent, start, bytes.count)
    }
  }
}

final class SessionBox: Sendable {
  let operations: any FUSEOperations

  let maximumRead: UInt32?

  init(_ operations: any FUSEOperations, maximumRead: UInt32?) {
    self.operations = operations
    self.maximumRead = maximumRead
  }
}
