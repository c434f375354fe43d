import CFUSE
import Glibc
import Locking

/// A mounted file system and the threads that serve it.
// SAFETY: the pointer belongs to libfuse, whose session functions used here may be called on any thread.
package final class FUSESession: @unchecked Sendable {
  private let session: OpaquePointer
  let operations: any FUSEOperations

  /// A failure to mount a file system.
  package struct MountError: Error, Sendable, CustomStringConvertible {
    package let reason: String

    package var description: String { reason }
  }

  /// Mounts a file system.
  ///
  /// - Parameters:
  ///   - path: The mount point.
  ///   - options: Options in the syntax of FUSE, separated by commas.
  ///   - maximumRead: The maximum size of a read request in bytes; must equal `max_read` in the options.
  ///   - operations: The file system.
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
    // SAFETY: never released, as a session lives as long as the process.
    guard let session = cfuse_session_new(options, &table, Unmanaged.passRetained(user).toOpaque()) else {
      throw MountError(reason: "libfuse rejects the mount options '\(options)'")
    }
    self.session = session
    guard fuse_session_mount(session, path) == 0 else {
      throw MountError(
        reason:
          "cannot mount \(path): this needs /dev/fuse, fusermount3 for users other than root, and "
          + "'user_allow_other' in /etc/fuse.conf for --allow-other; in a container --device /dev/fuse and "
          + "--cap-add SYS_ADMIN, and for other users no 'no-new-privileges'"
      )
    }
    // If this fails, the kernel is not asked for passthrough, and the daemon serves all reads.
    cfuse_session_prepare(session)
  }

  /// Registers a backing file, which the kernel may read by passthrough.
  ///
  /// - Parameter descriptor: The file; may be closed afterwards.
  /// - Returns: Its number, for answers to opens; a negative errno if the kernel refuses.
  package func registerBacking(_ descriptor: Int32) -> Int32 { cfuse_backing_open(session, descriptor) }

  /// Removes a registration; open files are not affected.
  ///
  /// - Parameter backing: From `registerBacking`.
  package func removeBacking(_ backing: Int32) { cfuse_backing_close(session, backing) }

  /// Serves requests until the file system is unmounted.
  ///
  /// - Parameter threads: The maximum number of threads.
  /// - Returns: 0, or a negative errno.
  package func run(threads: UInt32) -> Int32 { cfuse_session_loop(session, threads) }

  /// Unmounts the file system, which makes `run` return.
  ///
  /// The kernel fails requests that are not answered yet.
  package func unmount() {
    fuse_session_exit(session)
    fuse_session_unmount(session)
  }

  /// Removes the pages of a node from the kernel's cache.
  ///
  /// Blocks while reads of the node are in flight: must not be called within a request.
  ///
  /// - Parameter node: The node number.
  package func invalidate(_ node: UInt64) {
    // The kernel waits for pages that are being read; libfuse offers no timeout.
    fuse_lowlevel_notify_inval_inode(session, node, 0, 0)
  }
}

extension FUSESession {
  /// Removes a name from the kernel's cache, with the entries below it unless they are in use.
  ///
  /// Blocks while the directory is being read: must not be called within a request.
  ///
  /// - Parameters:
  ///   - name: Without NUL.
  ///   - parent: The node number of the directory.
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
