import Glibc
import Content
import OCI
package import SystemPackage

/// Where the local registry is, and the paths within it (docs/local-registry.md).
package struct RegistryRoot: Sendable {
  package let path: FilePath

  /// A root at a path.
  ///
  /// - Parameter path: of a folder, which need not exist.
  package init(path: FilePath) { self.path = path }

  /// The place by the environment: `WEIGHTFS_ROOT`, else `/var/lib/weightfs` for root, else the XDG data folder.
  ///
  /// - Parameters:
  ///   - environment: of the process.
  ///   - isRoot: whether the user is root.
  /// - Returns: what was asked for.
  package static func standard(environment: [String: String], isRoot: Bool) -> RegistryRoot {
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    if let path = value("WEIGHTFS_ROOT") { return RegistryRoot(path: FilePath(path)) }
    if isRoot { return RegistryRoot(path: "/var/lib/weightfs") }
    let data = value("XDG_DATA_HOME") ?? "\(value("HOME") ?? "/tmp")/.local/share"
    return RegistryRoot(path: FilePath(data).appending("weightfs"))
  }

  /// The size of the disk that it lies on, or will lie on, bytes; nil where that cannot be told.
  package var diskSize: Int64? { Disk.fileSystemSize(path) }

  /// What belongs to weightfs and not to an artifact.
  var own: FilePath { path.appending(".weightfs") }

  /// Where the oci-dir of a reference is, if it is one.
  func layout(_ reference: Reference) -> FilePath { path.appending(ReferencePath.path(of: reference)) }

  func blobs(_ algorithm: Digest.Algorithm) -> FilePath {
    own.appending("blobs").appending(algorithm.rawValue)
  }
  func blob(_ digest: Digest) -> FilePath { blobs(digest.algorithm).appending(digest.hex) }
  func partials(_ algorithm: Digest.Algorithm) -> FilePath {
    own.appending("partial").appending(algorithm.rawValue)
  }
  func partial(_ digest: Digest) -> FilePath { partials(digest.algorithm).appending(digest.hex) }
  var origins: FilePath { own.appending("state").appending("origins") }
  var verified: FilePath { own.appending("state").appending("verified") }
  var chunks: FilePath { own.appending("state").appending("chunks") }
  var profiles: FilePath { own.appending("state").appending("profiles") }
  var materialized: FilePath { own.appending("materialized") }
  var references: FilePath { own.appending("state").appending("references") }
  var pins: FilePath { own.appending("state").appending("pins") }
  var space: FilePath { own.appending("state").appending("space") }
  var temporary: FilePath { own.appending("temporary") }
  /// Where blobs and partial blobs lie.
  var blobFolders: [FilePath] { Digest.Algorithm.allCases.flatMap { [blobs($0), partials($0)] } }
  var bad: FilePath { own.appending("bad") }
  var locks: FilePath { own.appending("locks") }

  /// Makes the folders.
  ///
  /// NFS is refused: its locks and its page cache do not do what partial blobs need.
  ///
  /// - Throws: `Errno`; `notSupported` on NFS.
  func prepare() throws(Errno) {
    try Disk.createFolder(path)
    guard !MountTable.isOnNetwork(path) else { throw Errno.notSupported }
    for algorithm in Digest.Algorithm.allCases {
      try Disk.createFolder(blobs(algorithm))
      try Disk.createFolder(partials(algorithm))
    }
    for folder in [origins, verified, chunks, profiles, references, pins, temporary, locks] {
      try Disk.createFolder(folder)
    }
  }
}
