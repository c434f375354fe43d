/// Options of a mount that the kernel applies, as `-o` takes them.
///
/// Known are `noexec`, `max_read=BYTES` (mount.fuse3(8)), and the labels of SELinux: `context=`, `fscontext=`,
/// `defcontext=`, `rootcontext=` (mount(8)), whose value may stand in quotes and hold commas.
package struct KernelMountOptions: Sendable, Equatable {
  private(set) var words: [String] = []
  private(set) var hasLabel = false
  /// Of one read request, bytes.
  private(set) var maximumRead: UInt32?

  private static let labels = ["context", "fscontext", "defcontext", "rootcontext"]
  // The kernel takes no smaller requests than a page, and none that its own limit of 4 MiB cuts (fuse.rst).
  private static let readSizes = 4096...(4 << 20)

  /// Says what is wrong with an option.
  package struct Problem: Error {
    package let reason: String
  }

  /// No options.
  package init() {}

  /// Reads options.
  ///
  /// - Parameter text: separated by commas, of which those within double quotes are part of a value.
  /// - Throws: `Problem` for an option that is not known, or a value that cannot be.
  package init(parsing text: String) throws(Problem) {
    for part in Self.split(text) where !part.isEmpty {
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
      default: throw Problem(reason: "'\(name)' is not an option that the kernel takes for this file system")
      }
    }
  }

  private static func split(_ text: String) -> [String] {
    var parts = [""]
    var isQuoted = false
    for character in text {
      if character == "\"" { isQuoted.toggle() }
      if character == ",", !isQuoted {
        parts.append("")
      } else {
        parts[parts.count - 1].append(character)
      }
    }
    return parts
  }

  /// What is given to libfuse, which takes a comma within a value as `\,`.
  package var text: String {
    words.map { ",\($0.split(separator: ",", omittingEmptySubsequences: false).joined(separator: "\\,"))" }
      .joined()
  }

  /// One sentence for a mount that failed with these options; empty where they cannot be the reason.
  package var advice: String? {
    hasLabel ? "A label needs a kernel with SELinux and a mount by root: fusermount3 passes none" : nil
  }
}
