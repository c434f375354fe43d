import Content
import Glibc
import OCI
import SystemPackage

/// The directory for mounts and sockets of this user, which no other user can write to.
enum RuntimeDirectory {
  /// Returns the directory, and creates it if it does not exist.
  ///
  /// It is `$XDG_RUNTIME_DIR/weightfs`, `/run/weightfs` for root, or `/tmp/weightfs-<uid>`.
  ///
  /// - Throws: `ContentError` if none of them can be used.
  static func path() throws(ContentError) -> FilePath {
    let user = geteuid()
    for place in places where mkdir(place, 0o700) == 0 || errno == EEXIST {
      var status = stat()
      guard lstat(place, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_uid == user,
        status.st_mode & 0o022 == 0
      else { continue }
      return FilePath(place)
    }
    throw ContentError(
      .disk,
      places.joined(separator: ", "),
      "none of these directories can be used for mounts of this user: it must be owned by the user, and writable by no other"
    )
  }

  private static var places: [String] {
    let user = geteuid()
    let runtime = CommonOptions.environment["XDG_RUNTIME_DIR"].flatMap { $0.isEmpty ? nil : $0 }
    return [runtime.map { "\($0)/weightfs" }, user == 0 ? "/run/weightfs" : nil, "/tmp/weightfs-\(user)"]
      .compactMap { $0 }
  }

  /// Returns the paths where the control socket of a mount may be: the daemon may have started with another
  /// environment than the command that asks it.
  ///
  /// - Parameter mountPoint: The absolute path of the mount.
  static func controlSockets(of mountPoint: String) -> [String] {
    places.map { "\($0)/\(socketName(mountPoint))" }
  }

  /// Returns the path of the control socket for a new daemon.
  ///
  /// - Parameter mountPoint: The absolute path of the mount.
  /// - Throws: `ContentError` if there is no runtime directory.
  static func newControlSocket(of mountPoint: String) throws(ContentError) -> String {
    "\(try path())/\(socketName(mountPoint))"
  }

  private static func socketName(_ mountPoint: String) -> String {
    "\(Verification.digest(of: Array(mountPoint.utf8)).hex.prefix(16)).sock"
  }
}
