/// The options that mount(8) passes with `-o`, in fstab or on a command line.
///
/// A pure value. Options are separated by commas; commas within double quotes belong to a value. The names are those of
/// the table of options with `_`, those that the kernel applies, and those that mount(8) handles itself.
package struct MountOptionList: Sendable, Equatable {
  /// The flags of `weightfs mount`, such as `--cache-limit=20G`.
  package private(set) var flags: [String] = []
  /// Options for the kernel, such as `noexec`, with their quotes.
  package private(set) var kernel: [String] = []
  /// Whether the options of an existing mount are to be changed.
  package private(set) var isRemount = false

  /// The reason why an option is invalid.
  package struct Problem: Error, Sendable {
    package let reason: String
  }

  // Options of mount(8) itself, options that every mount of weightfs has, and options that the kernel shows for a
  // mount. mount(8) passes `rw` by default; the kernel refuses writes nevertheless.
  private static let ignored: Set<String> = [
    "defaults", "ro", "rw", "nosuid", "nodev", "exec", "auto", "noauto", "user", "nouser", "users", "owner",
    "group",
    "nofail", "_netdev", "relatime", "noatime", "nodiratime", "dev", "suid", "atime", "sync", "async",
    "default_permissions", "comment", "user_id", "group_id", "rootmode", "blksize", "fsname", "subtype",
  ]
  private static let kernelOptions: Set<String> = [
    "noexec", "max_read", "context", "fscontext", "defcontext", "rootcontext",
  ]

  /// Parses options.
  ///
  /// - Parameter text: The value of `-o`.
  /// - Throws: `Problem` for an unknown option, an invalid value or a missing quote.
  package init(parsing text: String) throws(Problem) {
    let list = QuotedList(text)
    guard !list.isOpen else {
      throw Problem(reason: "a double quote is missing in '\(list.parts.last ?? "")'")
    }
    for part in list.parts where !part.isEmpty { try add(part) }
  }

  private mutating func add(_ part: String) throws(Problem) {
    let mark = part.firstIndex(of: "=")
    let name = String(part[..<(mark ?? part.endIndex)])
    let value = mark.map { part[part.index(after: $0)...].filter { $0 != "\"" } }
    if name == "remount" {
      isRemount = true
    } else if Self.kernelOptions.contains(name) {
      kernel.append(part)
    } else if let option = OptionTable.all.first(where: { $0.key == name }) {
      try add(option, value)
    } else if !Self.ignored.contains(name), !name.hasPrefix("x-"), !name.hasPrefix("X-") {
      let near = OptionTable.nearest(name, among: OptionTable.all.map(\.key))
      throw Problem(reason: "unknown option '\(name)'" + (near.map { "; did you mean '\($0)'?" } ?? ""))
    }
  }

  private mutating func add(_ option: OptionDefinition, _ value: String?) throws(Problem) {
    if option.isFlag {
      let isOn = value ?? "true"
      if let problem = option.problem(with: isOn) { throw Problem(reason: "\(option.key): \(problem)") }
      if isOn == "true" { flags.append("--\(option.name)") }
      return
    }
    guard let value else { throw Problem(reason: "\(option.key) needs a value: \(option.key)=…") }
    if let problem = option.problem(with: value) { throw Problem(reason: "\(option.key): \(problem)") }
    flags.append("--\(option.name)=\(value)")
  }
}
