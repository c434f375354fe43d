package import Fetching
import FoundationEssentials
package import Logging

/// How much the kernel reads ahead of a program in a mount: a setting of the mount's backing device (bdi).
///
/// A file takes the setting at its open.
package enum Readahead {
  /// The kernel's window, by what is fetched.
  ///
  /// Where only what is read is fetched, each page that is read ahead is paid for: a fault reads half a window before and
  /// half behind it, so 64 KiB touch two blocks and 128 KiB three. Else longer reads mean fewer of them.
  ///
  /// - Parameter fill: what is fetched beside what is read.
  package static func bytes(_ fill: FetchPolicy.Fill) -> Int {
    switch fill {
    case .demand: 64 << 10
    case .background: 512 << 10
    }
  }

  /// Sets it.
  ///
  /// - Parameters:
  ///   - bytes: of the window.
  ///   - device: of the mount, `major:minor`.
  ///   - log: for what a user should know.
  package static func set(_ bytes: Int, of device: String, log: Logger) {
    do {
      let file = URL(filePath: "/sys/class/bdi/\(device)/read_ahead_kb")
      try Data("\(bytes >> 10)\n".utf8).write(to: file)
    } catch {
      // Root alone may; the kernel's 128 KiB do.
      log.debug("the kernel's readahead stays as it is", metadata: ["reason": "\(error)"])
    }
  }
}
