package import Content
import FUSE
package import FileSystem
import Glibc
package import Logging
import Locking
import SystemPackage
package import Telemetry

/// A mounted file system, until it is unmounted.
package final class MountedFileSystem: Sendable {
  private let session: FUSESession

  // More threads than cores: some copy while others wait for the disk. No thread waits for the network.
  private static let threadCount: UInt32 = 8

  /// Mounts a file system.
  ///
  /// - Parameters:
  ///   - fileSystem: The file system.
  ///   - path: The mount point.
  ///   - allowsOther: Whether other users may access the mount.
  ///   - kernelOptions: Additional options.
  ///   - metrics: Counts failures.
  ///   - log: Receives messages for the operator.
  ///   - deadline: The maximum time of a look-up, an open or a listing.
  ///   - label: The source that `mount` and `df` show.
  ///   - onReady: Called after the handshake with the kernel.
  /// - Throws: `ContentError`.
  package init(
    _ fileSystem: FileSystem,
    at path: String,
    allowsOther: Bool,
    kernelOptions: KernelMountOptions = KernelMountOptions(),
    metrics: Metrics,
    log: Logger,
    deadline: Duration,
    label: String,
    onReady: @escaping @Sendable () -> Void
  ) throws(ContentError) {
    // libfuse ends an option at a comma and reads a backslash as an escape.
    let source = label.replacing("\\", with: "\\\\").replacing(",", with: "\\,")
    var options = "ro,nosuid,nodev,default_permissions,fsname=\(source),subtype=weightfs"
    if allowsOther { options += ",allow_other" }
    options += kernelOptions.text
    let registrar = SessionRegistrar()
    let adapter = FileSystemAdapter(
      fileSystem: fileSystem,
      metrics: metrics,
      log: log,
      deadline: deadline,
      onReady: { hasPassthrough in
        fileSystem.usePassthrough(hasPassthrough ? registrar : nil)
        onReady()
      }
    )
    do throws(FUSESession.MountError) {
      session = try FUSESession(
        mounting: path,
        options: options,
        maximumRead: kernelOptions.maximumRead,
        operations: adapter
      )
    } catch {
      throw ContentError(.disk, path, error.reason, advice: kernelOptions.advice)
    }
    let session = session
    registrar.use(session)
    // The kernel may block these calls until reads in flight are answered, so they run on a separate thread.
    let executor = BlockingExecutor(label: "weightfs.invalidate", threads: 1)
    fileSystem.onForgetting { names in
      executor.start { for entry in names { session.forgetName(entry.name, in: entry.parent) } }
    }
    fileSystem.onInvalidation { nodes in
      executor.start { for node in nodes { session.invalidate(node) } }
    }
  }

  /// Serves requests until the file system is unmounted; blocks the calling thread.
  ///
  /// - Returns: 0, or a negative errno.
  package func run() -> Int32 { session.run(threads: Self.threadCount) }

  /// Unmounts the file system.
  package func unmount() { session.unmount() }
}

/// Registers backing files with the session, which is created after the file system.
private final class SessionRegistrar: BackingRegistrar {
  private let session = Mutex<FUSESession?>(nil)

  func use(_ session: FUSESession) { self.session.withLock { $0 = session } }

  func register(_ descriptor: FileDescriptor) throws(Errno) -> Int32 {
    guard let session = session.withLock({ $0 }) else { throw .badFileDescriptor }
    let number = session.registerBacking(descriptor.rawValue)
    guard number > 0 else { throw Errno(rawValue: -number) }
    return number
  }

  func remove(_ number: Int32) { session.withLock { $0 }?.removeBacking(number) }
}
