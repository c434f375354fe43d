package import Fetching
import FoundationEssentials
package import Logging

/// The readahead of the kernel for a mount: a setting of the mount's backing device (bdi).
///
/// A file takes the setting at its open.
package enum Readahead {
  /// Returns the readahead window for a fill mode, in bytes.
  ///
  /// With `demand`, each page read ahead costs a fetch: a page fault reads half a window before and half
  /// after the page, so 64 KiB touch two blocks and 128 KiB three. With `background`, a larger window means
  /// fewer reads.
  package static func bytes(_ fill: FetchPolicy.Fill) -> Int {
    switch fill {
    case .demand: 64 << 10
    case .background: 512 << 10
    }
  }

  /// Sets the readahead of a mount.
  ///
  /// - Parameters:
  ///   - bytes: The window in bytes.
  ///   - device: The device of the mount, `major:minor`.
  ///   - log: Receives messages for the operator.
  package static func set(_ bytes: Int, of device: String, log: Logger) {
    do {
      let file = URL(filePath: "/sys/class/bdi/\(device)/read_ahead_kb")
      try Data("\(bytes >> 10)\n".utf8).write(to: file)
    } catch {
      // Only root may set it; the kernel's default of 128 KiB works too.
      log.debug("the kernel's readahead is unchanged", metadata: ["reason": "\(error)"])
    }
  }
}
