import Content
import Disk
import Glibc
import OCI
import SystemPackage

/// The mount that commands start for themselves: one per user and local registry, below the user's runtime
/// directory.
struct RuntimeMount {
  private let arguments: [String]

  // Seconds without an open file until the mount ends.
  private static let idleTime = 3600

  /// Creates the mount for some options: mounts with the same options are one.
  ///
  /// - Parameter arguments: The options, which name the local registry.
  init(_ arguments: [String]) { self.arguments = arguments }

  /// Returns the directory for files checked out of an artifact.
  ///
  /// - Parameters:
  ///   - registryRoot: The path of the local registry.
  ///   - name: The name of the artifact, different for each content.
  /// - Throws: `ContentError`.
  static func checkoutFolder(in registryRoot: String, _ name: String) throws(ContentError) -> FilePath {
    let folder = FilePath(registryRoot).appending(".weightfs").appending("checkouts")
    do throws(Errno) {
      try Disk.createFolder(folder, permissions: 0o700)
    } catch {
      throw ContentError(.disk, "\(folder)", error)
    }
    return folder.appending(name)
  }

  /// Starts the mount, unless it is there.
  ///
  /// Blocks the calling thread. Of two calls at once, one starts it and the other waits.
  ///
  /// - Returns: The mount point.
  /// - Throws: `ContentError`.
  func start() throws(ContentError) -> String {
    let folder = try RuntimeDirectory.path()
    let name = String(Verification.digest(of: Array(arguments.joined(separator: "\0").utf8)).hex.prefix(16))
    let point = folder.appending(name)
    let lock: FileLock
    do throws(Errno) {
      lock = try FileLock(waitingFor: folder.appending("\(name).lock"))
      try Disk.createFolder(point, permissions: 0o700)
    } catch {
      throw ContentError(.disk, "\(point)", error)
    }
    defer { withExtendedLifetime(lock) {} }
    if isAlive(point.string) { return point.string }
    let words = ["/proc/self/exe", "mount"] + arguments + ["--idle-exit", "\(Self.idleTime)", point.string]
    guard try Subprocess.run(words) == 0 else {
      throw ContentError(
        .disk,
        "\(point)",
        "cannot mount the models",
        advice: "The reason is above; --no-fuse needs no mount"
      )
    }
    return point.string
  }

  private func isAlive(_ path: String) -> Bool {
    guard MountPoints.all().contains(where: { $0.path == path && $0.isWeightfs && $0.isOwn }) else {
      return false
    }
    var status = statvfs()
    return statvfs(path, &status) == 0
  }
}
