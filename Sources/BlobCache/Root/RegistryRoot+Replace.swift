package import Content
import Disk
package import SystemPackage

extension RegistryRoot {
  /// Replaces a small file atomically and syncs it to the disk.
  ///
  /// - Parameters:
  ///   - path: A path within the root.
  ///   - bytes: The complete content.
  ///   - permissions: The permissions of the file.
  /// - Throws: `ContentError`.
  package func replace(
    _ path: FilePath,
    with bytes: [UInt8],
    permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead]
  ) throws(ContentError) {
    do throws(Errno) {
      let mode = ConfinedRoots.permissions(of: path, permissions.rawValue)
      var file = try TemporaryFile(in: temporary, permissions: FilePermissions(rawValue: mode))
      try Disk.write(file.descriptor, bytes, at: 0)
      try file.rename(to: path)
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
  }
}
