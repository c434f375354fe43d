package import Content
import FUSE
package import FileSystem
import Glibc
package import Logging
import Locking
import SystemPackage
package import Telemetry

/// A file system at its mount point, until it is unmounted.
package final class MountedFileSystem: Sendable {
  private let session: FUSESession

  // More threads than cores: some copy while others wait for the disk. None waits for the network.
  private static let threadCount: UInt32 = 8

  /// Mounts a file system.
  ///
  /// - Parameters:
  ///   - fileSystem: what is shown.
  ///   - path: of the mount point.
  ///   - allowsOther: other users may look in.
  ///   - kernelOptions: beside those that every mount has.
  ///   - metrics: where failures are counted.
  ///   - log: for what a user should know.
  ///   - deadline: after which a look-up, an open or a listing ends.
  ///   - label: what `mount` and `df` show as the source.
  ///   - onReady: called once the kernel has said hello.
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
    // A comma in the source would end the option.
    let source = label.split(separator: ",", omittingEmptySubsequences: false).joined(separator: "\\,")
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
    // The kernel may block there until reads under way are answered: a thread of its own, which nobody waits for.
    let executor = BlockingExecutor(label: "weightfs.invalidate", threads: 1)
    fileSystem.onForgetting { names in
      executor.start { for entry in names { session.forgetName(entry.name, in: entry.parent) } }
    }
    fileSystem.onInvalidation { nodes in
      executor.start { for node in nodes { session.invalidate(node) } }
    }
  }

  /// Serves until it is unmounted.
  ///
  /// Blocks.
  ///
  /// - Returns: 0, or a negative errno.
  package func run() -> Int32 { session.run(threads: Self.threadCount) }

  /// Unmounts.
  package func unmount() { session.unmount() }
}

/// Registers backing files with the session, which is made after the file system that asks for it.
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
