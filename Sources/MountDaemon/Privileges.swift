package import BlobCache
import CLinux
package import Content
import Glibc
import LocalRegistry
import SystemPackage

/// What a daemon that was started by root gives up once it is mounted.
package enum Privileges {
  /// Gives up every capability but those that a mount needs, in every thread, for this process and what it starts.
  ///
  /// Kept are CAP_SYS_ADMIN (passthrough), CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_FOWNER (roots, stores and
  /// credential files of other users), and CAP_CHOWN where the root belongs to another user, as what is added to it takes
  /// its owner. An ordinary user has nothing to give up.
  ///
  /// - Parameter root: the local registry.
  /// - Throws: `ContentError` where a thread cannot be reached.
  package static func limit(for root: RegistryRoot) throws(ContentError) {
    guard geteuid() == 0 else { return }
    var keep = clinux_cap_sys_admin | clinux_cap_dac_override | clinux_cap_dac_read_search | clinux_cap_fowner
    if root.isOthers { keep |= clinux_cap_chown }
    let result = clinux_limit_privileges(keep)
    guard result == 0 else {
      throw ContentError(
        .disk,
        "\(root.path)",
        "the daemon cannot give up its capabilities: \(Errno(rawValue: -result))"
      )
    }
  }
}
