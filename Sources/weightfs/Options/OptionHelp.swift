import ArgumentParser
import Configuration

extension ArgumentHelp {
  /// The help of an option, from the table of options.
  ///
  /// - Parameter name: A name of `OptionTable`; a test compares the names with those of the declarations.
  static func option(_ name: String) -> ArgumentHelp {
    guard let option = OptionTable.option(name) else { return ArgumentHelp("\(name) is not in the table.") }
    // A choice and a number have a default that ArgumentParser prints itself.
    let isPrinted: Bool
    switch option.kind {
    case .choice, .integer, .octal: isPrinted = Int(option.standard) != nil || !option.standard.contains(" ")
    case .size: isPrinted = name == "min-rate"
    case .flag, .text, .path, .list, .share: isPrinted = false
    }
    let standard = option.standard.isEmpty || isPrinted ? "" : " Default: \(option.standard)."
    return ArgumentHelp("\(option.help)\(standard)", valueName: option.valueName)
  }
}

extension ByteCount: ExpressibleByArgument {
  /// Parses the value of an option.
  public init?(argument: String) { self.init(argument) }
}

extension DiskShare: ExpressibleByArgument {
  /// Parses the value of an option.
  public init?(argument: String) { self.init(argument) }
}

extension OptionTable {
  /// Checks values against the table: ArgumentParser checks types, not ranges.
  ///
  /// - Parameter values: The values by the names of their options.
  /// - Throws: `ValidationError` for the first value that is none of its option.
  static func validate(_ values: KeyValuePairs<String, String>) throws {
    for (name, value) in values {
      if let problem = option(name)?.problem(with: value) { throw ValidationError("--\(name): \(problem)") }
    }
  }
}
