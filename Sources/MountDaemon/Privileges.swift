package import BlobCache
import CLinux
package import Content
import Glibc
import LocalRegistry
import SystemPackage

/// Drops privileges of a daemon that was started by root, once it is mounted.
package enum Privileges {
  /// Drops every capability that a mount does not need, in every thread, for this process and its children.
  ///
  /// Kept are CAP_SYS_ADMIN (passthrough), CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_FOWNER (roots,
  /// stores and credential files of other users), and CAP_CHOWN if the root belongs to another user, as new
  /// files get the owner of the root. Does nothing for a user other than root.
  ///
  /// - Parameter root: The local registry.
  /// - Throws: `ContentError` if the capabilities of a thread cannot be changed.
  package static func limit(for root: RegistryRoot) throws(ContentError) {
    guard geteuid() == 0 else { return }
    var keep = clinux_cap_sys_admin | clinux_cap_dac_override | clinux_cap_dac_read_search | clinux_cap_fowner
    if root.isOthers { keep |= clinux_cap_chown }
    let result = clinux_limit_privileges(keep)
    guard result == 0 else {
      throw ContentError(
        .disk,
        "\(root.path)",
        "the daemon cannot drop its capabilities: \(Errno(rawValue: -result))"
      )
    }
  }
}
