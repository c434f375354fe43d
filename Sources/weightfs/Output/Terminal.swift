import Glibc
import OCI

/// Standard output and standard error.
enum Terminal {
  /// Whether standard error is a terminal.
  static var isInteractive: Bool { isatty(STDERR_FILENO) == 1 }

  /// Prints one line, parts of which may be untrusted.
  static func printError(_ line: String) { write(ForeignText.visible(line) + "\n", to: STDERR_FILENO) }

  /// Prints lines of tab-separated fields, parts of which may be untrusted.
  static func print(_ text: String) {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      line.split(separator: "\t", omittingEmptySubsequences: false).map { ForeignText.visible($0) }
        .joined(separator: "\t")
    }
    write(lines.joined(separator: "\n") + "\n", to: STDOUT_FILENO)
  }

  /// Writes text unchanged, and exits quietly if the reader has closed the pipe.
  static func write(_ text: String, to descriptor: Int32) {
    var text = text
    text.withUTF8 { bytes in
      var done = 0
      while done < bytes.count {
        let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
        if count < 0 {
          if errno == EINTR { continue }
          if errno == EPIPE { exit(0) }
          let reason = String(cString: strerror(errno))
          if descriptor == STDOUT_FILENO {
            printError("weightfs: standard output: \(reason)")
            exit(1)
          }
          return
        }
        done += count
      }
    }
  }

  /// Returns the time since a point in time for display; `time` is in nanoseconds since 1970.
  static func age(_ time: Int64?) -> String {
    guard let time else { return "-" }
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let seconds = max(0, Int64(now.tv_sec) - time / 1_000_000_000)
    switch seconds {
    case ..<60: return "now"
    case ..<3600: return "\(seconds / 60) min"
    case ..<86_400: return "\(seconds / 3600) h"
    default: return "\(seconds / 86_400) days"
    }
  }

  static func padded(_ text: String, _ width: Int, right: Bool = false) -> String {
    let space = String(repeating: " ", count: max(0, width - text.count))
    return right ? space + text : text + space
  }
}
