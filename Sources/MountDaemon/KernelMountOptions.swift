import Configuration

/// Mount options that the kernel applies, in the syntax of `-o`.
///
/// Supported are `noexec`, `max_read=BYTES` (mount.fuse3(8)), and SELinux labels: `context=`, `fscontext=`,
/// `defcontext=`, `rootcontext=` (mount(8)), whose value may be in quotes and contain commas.
package struct KernelMountOptions: Sendable, Equatable {
  private(set) var words: [String] = []
  private(set) var hasLabel = false
  /// Maximum size of a read request in bytes.
  private(set) var maximumRead: UInt32?

  private static let labels = ["context", "fscontext", "defcontext", "rootcontext"]
  // The kernel accepts no limit below a page, and limits requests to 4 MiB itself (fuse.rst).
  private static let readSizes = 4096...(4 << 20)

  /// The reason why an option is invalid.
  package struct Problem: Error {
    package let reason: String
  }

  /// Creates an empty set of options.
  package init() {}

  /// Parses options.
  ///
  /// - Parameter text: Options separated by commas; commas within double quotes belong to a value.
  /// - Throws: `Problem` for an unknown option or an invalid value.
  package init(parsing text: String) throws(Problem) {
    for part in QuotedList(text).parts where !part.isEmpty {
      let mark = part.firstIndex(of: "=")
      let name = String(part[..<(mark ?? part.endIndex)])
      let value = mark.map { String(part[part.index(after: $0)...]) }
      switch (name, value) {
      case ("noexec", nil): words.append("noexec")
      case ("max_read", let value?):
        guard let count = Int(value), Self.readSizes.contains(count) else {
          throw Problem(
            reason: "max_read takes \(Self.readSizes.lowerBound) to \(Self.readSizes.upperBound) bytes"
          )
        }
        words.append("max_read=\(count)")
        maximumRead = UInt32(count)
      case (_, let value?) where Self.labels.contains(name):
        let label = value.filter { $0 != "\"" }
        guard !label.isEmpty, !label.utf8.contains(where: { $0 < 0x20 || $0 == UInt8(ascii: "\\") }) else {
          throw Problem(reason: "\(name) takes a label, such as \(name)=\"system_u:object_r:usr_t:s0\"")
        }
        // The kernel splits at commas that are not within quotes (security/selinux/hooks.c, opt_len).
        words.append(label.contains(",") ? "\(name)=\"\(label)\"" : "\(name)=\(label)")
        hasLabel = true
      default: throw Problem(reason: "'\(name)' is not a supported kernel option")
      }
    }
  }

  /// The options for libfuse, in which a comma within a value is written as `\,`.
  package var text: String {
    words.map { ",\($0.split(separator: ",", omittingEmptySubsequences: false).joined(separator: "\\,"))" }
      .joined()
  }

  /// Advice if a mount with these options failed; nil if they cannot be the reason.
  package var advice: String? {
    hasLabel ? "A label needs a kernel with SELinux and a mount by root: fusermount3 passes none" : nil
  }
}
