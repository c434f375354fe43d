/// One option of weightfs: its name, the values it takes, and the places where it can be set.
///
/// A pure value. Every option can be set in a configuration file, by an environment variable, as an option of mount(8),
/// and by a flag; a later place of this list takes precedence.
package struct OptionDefinition: Sendable {
  /// The values that an option takes.
  package enum Kind: Sendable {
    /// `true` or `false`; a flag without a value on the command line.
    case flag
    case text
    /// A path; relative to the working directory.
    case path
    /// Any number of texts.
    case list
    /// Bytes, such as `512M`.
    case size
    /// Bytes, or a percentage of the disk.
    case share
    case integer(ClosedRange<Int>)
    /// One of some words.
    case choice([String])
    /// Three octal digits.
    case octal
  }

  /// The commands that have an option.
  package enum Scope: Sendable {
    /// All commands that use the local registry.
    case all
    /// `weightfs mount`.
    case mount
  }

  /// The name as a flag, without its dashes: `cache-limit`.
  package let name: String
  package let kind: Kind
  package let scope: Scope
  /// The default as it is shown; empty if there is none.
  package let standard: String
  /// Whether a running mount takes over a new value on SIGHUP.
  package let isReloadable: Bool
  /// One or two sentences, without the default.
  package let help: String

  init(
    _ name: String,
    _ kind: Kind,
    in scope: Scope = .all,
    standard: String = "",
    isReloadable: Bool = false,
    _ help: String
  ) {
    self.name = name
    self.kind = kind
    self.scope = scope
    self.standard = standard
    self.isReloadable = isReloadable
    self.help = help
  }

  /// The name in a configuration file and as an option of mount(8): `cache_limit`.
  package var key: String { name.replacing("-", with: "_") }
  /// The name of the environment variable: `WEIGHTFS_CACHE_LIMIT`.
  package var variable: String { "WEIGHTFS_\(key.uppercased())" }
  package var isFlag: Bool { if case .flag = kind { true } else { false } }
  package var isList: Bool { if case .list = kind { true } else { false } }

  /// The word for the value in a synopsis; nil for a flag.
  package var valueName: String? {
    switch kind {
    case .flag: nil
    case .text, .list: name == "platform" ? "os/arch" : "text"
    case .path: "path"
    case .size, .share: "size"
    case .integer: "number"
    case .choice(let words): words.joined(separator: "|")
    case .octal: "octal"
    }
  }

  /// Returns why a text is not a value of this option, or nil if it is one.
  ///
  /// - Parameter value: The text of one value.
  package func problem(with value: String) -> String? {
    switch kind {
    case .flag: return ["true", "false"].contains(value) ? nil : "'\(value)' is neither true nor false"
    case .text, .path, .list: return value.isEmpty ? "the value is empty" : nil
    case .size: return ByteCount(value) == nil ? "'\(value)' is not a size such as 512M or 20G" : nil
    case .share: return DiskShare(value) == nil ? "'\(value)' is not a size such as 200G or 5%" : nil
    case .integer(let range):
      guard let number = Int(value), range.contains(number) else {
        return "'\(value)' is not a number from \(range.lowerBound) to \(range.upperBound)"
      }
      return nil
    case .choice(let words):
      return words.contains(value) ? nil : "'\(value)' is none of \(words.joined(separator: ", "))"
    case .octal:
      guard let bits = UInt32(value, radix: 8), bits <= 0o777 else {
        return "'\(value)' does not have three octal digits"
      }
      return nil
    }
  }
}
