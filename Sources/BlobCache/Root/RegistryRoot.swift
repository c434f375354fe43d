import Glibc
import Content
package import OCI
package import SystemPackage
package import Disk

/// The root directory of a local registry, and the paths within it (docs/local-registry.md).
package struct RegistryRoot: Sendable {
  package let path: FilePath
  /// The users whose processes may use the root.
  package var share = RootShare.owner

  /// Creates a root at a path.
  ///
  /// - Parameter path: A directory, which need not exist.
  package init(path: FilePath) { self.path = path }

  /// The user who owns the root, or nil if it does not exist.
  package var owner: UInt32? { Disk.status(path).map { $0.st_uid } }

  /// Whether new files have to be given to another user or group than this process creates files for.
  package var isOthers: Bool {
    Disk.status(path).map { $0.st_uid != geteuid() || $0.st_gid != getegid() } ?? false
  }

  /// Whether other users than the owner can read the artifacts in the root although it is not shared.
  package var isOpenToOthers: Bool {
    guard share == .owner, let top = Disk.status(path) else { return false }
    return top.st_mode & 0o055 != 0
  }

  /// The first of weightfs' directories that is a symbolic link, or nil.
  package var firstLink: FilePath? {
    let places = [own, own.appending("blobs"), own.appending("partial"), own.appending("state")]
    return (places + directories).first { Disk.linkTarget($0) != nil }
  }

  /// Returns the default root: `WEIGHTFS_ROOT`, else `/var/lib/weightfs` for root, else the XDG data
  /// directory.
  ///
  /// - Parameters:
  ///   - environment: The environment of the process.
  ///   - isRoot: Whether the user is root.
  package static func standard(environment: [String: String], isRoot: Bool) -> RegistryRoot {
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    if let path = value("WEIGHTFS_ROOT") { return RegistryRoot(path: FilePath(path)) }
    if isRoot { return RegistryRoot(path: "/var/lib/weightfs") }
    let data = value("XDG_DATA_HOME") ?? "\(value("HOME") ?? "/tmp")/.local/share"
    return RegistryRoot(path: FilePath(data).appending("weightfs"))
  }

  /// The size in bytes of the file system that contains the root, or nil if it cannot be determined.
  package var diskSize: Int64? { Disk.fileSystemSize(path) }

  /// The directory of weightfs' own files, separate from the artifacts.
  var own: FilePath { path.appending(".weightfs") }

  /// The path of the oci-dir of a reference.
  package func layout(_ reference: Reference) -> FilePath {
    path.appending(ReferencePath.path(of: reference))
  }

  package func blobs(_ algorithm: Digest.Algorithm) -> FilePath {
    own.appending("blobs").appending(algorithm.rawValue)
  }
  package func blob(_ digest: Digest) -> FilePath { own.appending(digest.layoutPath) }
  package func partials(_ algorithm: Digest.Algorithm) -> FilePath {
    own.appending("partial").appending(algorithm.rawValue)
  }
  package func partial(_ digest: Digest) -> FilePath { partials(digest.algorithm).appending(digest.hex) }
  var origins: FilePath { own.appending("state").appending("origins") }
  package var verified: FilePath { own.appending("state").appending("verified") }
  package var chunks: FilePath { own.appending("state").appending("chunks") }
  package var profiles: FilePath { own.appending("state").appending("profiles") }
  var materialized: FilePath { own.appending("materialized") }
  package var references: FilePath { own.appending("state").appending("references") }
  package var unpacked: FilePath { own.appending("state").appending("unpacked") }
  var pins: FilePath { own.appending("state").appending("pins") }
  package var space: FilePath { own.appending("state").appending("space") }
  var times: FilePath { own.appending("state").appending("times") }
  package var temporary: FilePath { own.appending("temporary") }
  /// The directories of blobs and partial blobs.
  var blobFolders: [FilePath] { Digest.Algorithm.allCases.flatMap { [blobs($0), partials($0)] } }
  package var bad: FilePath { own.appending("bad") }
  package var locks: FilePath { own.appending("locks") }

  /// Creates the directories.
  ///
  /// NFS is refused: its locks and its page cache do not give the guarantees that partial blobs need.
  ///
  /// - Throws: `Errno`; `notSupported` on NFS.
  package func prepare() throws(Errno) {
    if !Disk.exists(path) {
      try Disk.createFolder(path.removingLastComponent())
      guard ConfinedRoots.makeRoot(path, share.folderMode) == 0 || errno == EEXIST else {
        throw Errno(rawValue: errno)
      }
      if share != .owner { _ = path.withPlatformString { chmod($0, share.folderMode) } }
    }
    guard !MountTable.isOnNetwork(path) else { throw Errno.notSupported }
    try ConfinedRoots.register(path, share, directories: directories)
    for folder in directories { try Disk.createFolder(folder) }
  }

  /// The default log file of a mount.
  package var log: FilePath { own.appending("mount.log") }

  /// Opens the log for appending; creates the root if it does not exist.
  ///
  /// - Throws: `Errno`; `tooManySymbolicLinkLevels` if the log, or a directory of the root above it, is a
  ///   link.
  package func openLog() throws(Errno) -> FileDescriptor {
    try prepare()
    return try Disk.open(
      log,
      .writeOnly,
      options: [.create, .append, .closeOnExec, .noFollow],
      permissions: [.ownerReadWrite]
    )
  }

  private var directories: [FilePath] {
    blobFolders + [origins, verified, chunks, profiles, references, pins, unpacked, temporary, locks]
  }
}
