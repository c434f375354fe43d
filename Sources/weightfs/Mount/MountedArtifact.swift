import Artifacts
import Disk
import Glibc
import OCI

/// The place of an artifact below the mounts of this machine.
struct MountedArtifact {
  private let reference: Reference
  private let registryRoot: String

  /// Creates the place of a reference.
  ///
  /// - Parameters:
  ///   - reference: The reference.
  ///   - registryRoot: The local registry whose mounts are used.
  init(_ reference: Reference, registryRoot: String) {
    self.reference = reference
    self.registryRoot = registryRoot
  }

  /// The directory of the artifact in a mount of itself or of the complete tree; nil if neither is mounted.
  func folder(noColon: Bool = false) -> String? {
    let mounts = MountPoints.all()
    let own = mounts.last { mount in
      // The source of a mount that is not a reference is that of another artifact.
      mount.isWeightfs && mount.isOwn && (try? Reference(parsing: mount.source)) == reference
    }
    if let own { return own.path }
    return mounts.last { $0.isTree(of: registryRoot) && $0.isOwn }.map { "\($0.path)/\(spelling(noColon))" }
  }

  /// Whether a directory shows an artifact: its tag may have moved since it was mounted, or the mount may be of
  /// another platform.
  ///
  /// Blocks the calling thread.
  static func shows(_ artifact: LoadedArtifact, _ file: String, at folder: String) -> Bool {
    guard access(file.isEmpty ? folder : "\(folder)/\(file)", F_OK) == 0 else { return false }
    guard let value = Disk.extendedAttribute("user.weightfs.digest", of: folder) else { return false }
    let digest = String(decoding: value, as: UTF8.self)
    return digest == "\(artifact.root.digest)" || digest == "\(artifact.manifestDigest)"
  }

  /// Returns the path of a file of the artifact.
  ///
  /// - Parameters:
  ///   - file: The path from the root of the artifact; empty for the root itself.
  ///   - mountPoint: The mount point of the tree; nil for the mounts of this machine, else /mnt/models.
  ///   - noColon: Whether colons are written as `__`.
  func path(of file: String, mountPoint: String?, noColon: Bool = false) -> String {
    let named = mountPoint.map { "\(AbsolutePath.of($0))/\(spelling(noColon))" }
    let folder = named ?? folder(noColon: noColon) ?? "/mnt/models/\(spelling(noColon))"
    return file.isEmpty ? folder : "\(folder)/\(file)"
  }

  private func spelling(_ noColon: Bool) -> String {
    let name =
      reference.digest.map { "\(reference.repository)@\($0)" }
      ?? "\(reference.repository):\(reference.target)"
    return noColon ? ReferencePath.escape(name) : name
  }
}
