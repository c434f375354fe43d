import Foundation

/// A weightfs process that serves a mount.
package final class MountProcess: Sendable {
  package let mountPoint: String
  package let root: String
  package let log: String
  package let process: Int32

  /// The program under test: built by `make release`, as installed by `make install`.
  ///
  /// `WEIGHTFS_PROGRAM` selects another one, such as a build with a sanitizer.
  package static let program: String = {
    if let path = ProcessInfo.processInfo.environment["WEIGHTFS_PROGRAM"], !path.isEmpty {
      return URL(filePath: path).path
    }
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    return root.appending(path: ".build-release/release/weightfs").path
  }()

  /// Mounts and waits until the mount is ready; a prefix such as `setpriv` selects the user.
  package init(
    _ folder: TemporaryFolder,
    name: String = "mount",
    root: String = "root",
    source: String? = nil,
    _ options: [String] = [],
    environment: [String: String] = [:],
    prefix: [String] = []
  ) async throws {
    mountPoint = folder.path(name)
    self.root = folder.path(root)
    log = folder.path("\(name).log")
    try FileManager.default.createDirectory(atPath: mountPoint, withIntermediateDirectories: true)
    let words =
      [Self.program, "mount", "--registry-root", self.root, "--log-file", log] + options
      + [source, mountPoint].compactMap { $0 }
    // The credentials of the user who runs the tests must not be used.
    let variables = ["HOME": folder.path, "XDG_RUNTIME_DIR": folder.path].merging(environment) { $1 }
    let result = try await Command.run(["timeout", "-k", "5", "60"] + prefix + words, environment: variables)
    guard result.status == 0 else { throw MountError(status: result.status, text: result.error) }
    let point = mountPoint
    let found = try await Command.shell(
      "pgrep -f -- '--ready-descriptor' | while read p; do tr '\\0' '\\n' </proc/$p/cmdline | grep -qxF '\(point)' && echo $p; done"
    )
    guard let number = found.output.split(separator: "\n").first.flatMap({ Int32($0) }) else {
      throw MountError(status: 0, text: "cannot find the daemon of \(point)")
    }
    process = number
  }

  /// A failed mount.
  package struct MountError: Error {
    package let status: Int32
    package let text: String
  }

  deinit {
    umount2(mountPoint, Int32(MNT_DETACH))
    kill(process, SIGKILL)
  }

  /// Returns a path below the mount point.
  package func path(_ name: String) -> String { "\(mountPoint)/\(name)" }

  /// Unmounts and waits until the daemon has ended; returns false if it does not end.
  package func unmount() async -> Bool {
    umount2(mountPoint, Int32(MNT_DETACH))
    let process = process
    return await eventually { kill(process, 0) != 0 }
  }

  /// Kills the daemon like a crash, and unmounts the dead mount.
  package func crash() async throws {
    kill(process, SIGKILL)
    let process = process
    _ = await eventually { kill(process, 0) != 0 }
    umount2(mountPoint, Int32(MNT_DETACH))
  }

  /// The peak memory of the daemon in bytes (`VmHWM` of proc(5)).
  package var peakMemory: Int64? {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") })
    else { return nil }
    return line.split(separator: " ").dropFirst().first.flatMap { Int64($0) }.map { $0 << 10 }
  }

  /// The log of the daemon.
  package var messages: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

  /// Returns an extended attribute of a file below the mount point.
  package func attribute(_ name: String, of path: String) async throws -> String {
    let result = try await Command.shell(
      "getfattr --only-values -n user.weightfs.\(name) '\(self.path(path))'",
      seconds: 20
    )
    return result.output
  }
}
