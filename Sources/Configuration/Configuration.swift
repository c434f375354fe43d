/// The options from configuration files and the environment, before those of the command line.
///
/// A pure value. Of several places that set an option the last one counts: `config.toml`, the files of `conf.d` in the
/// order of their names, the user's file, the environment; within files, a table for the mount point takes precedence
/// over the file's own values.
package struct Configuration: Sendable, Equatable {
  /// A value, and the place that set it.
  package struct Value: Sendable, Equatable {
    package let texts: [String]
    /// A path, or the name of an environment variable.
    package let origin: String
  }

  /// The values by the names of their options.
  package private(set) var values: [String: Value] = [:]

  /// The reason why the environment is invalid.
  package struct Problem: Error, Sendable, Equatable {
    package let reason: String
  }

  /// Merges files and an environment.
  ///
  /// - Parameters:
  ///   - files: In the order of their precedence, the lowest first.
  ///   - environment: The environment of the process.
  ///   - mountPoint: The absolute path of the mount point; nil for commands that do not mount.
  /// - Throws: `Problem` if an environment variable has an invalid value.
  package init(
    files: [ConfigurationFile],
    environment: [String: String],
    mountPoint: String? = nil
  ) throws(Problem) {
    for file in files { add(file.values, file.path) }
    if let mountPoint {
      for file in files { add(file.mounts[mountPoint] ?? [:], "\(file.path) [mount.\"\(mountPoint)\"]") }
    }
    for option in OptionTable.all {
      guard let text = environment[option.variable], !text.isEmpty else { continue }
      let texts =
        option.isList ? text.split(separator: ",").map { String($0) } : [Self.flagValue(text, option)]
      for text in texts {
        if let problem = option.problem(with: text) {
          throw Problem(reason: "\(option.variable): \(problem)")
        }
      }
      values[option.name] = Value(texts: texts, origin: option.variable)
    }
  }

  private mutating func add(_ texts: [String: [String]], _ origin: String) {
    for option in OptionTable.all {
      if let found = texts[option.key] { values[option.name] = Value(texts: found, origin: origin) }
    }
  }

  /// The environment may spell a flag in other ways than a file.
  private static func flagValue(_ text: String, _ option: OptionDefinition) -> String {
    guard option.isFlag else { return text }
    switch text.lowercased() {
    case "1", "yes", "on", "true": return "true"
    case "0", "no", "off", "false": return "false"
    default: return text
    }
  }

  /// Returns the flags that set the values, except those of options that the command line has.
  ///
  /// - Parameters:
  ///   - scope: The command.
  ///   - given: The names of the options of the command line.
  package func flags(for scope: OptionDefinition.Scope, except given: Set<String>) -> [String] {
    OptionTable.all.flatMap { option -> [String] in
      guard let value = values[option.name], !given.contains(option.name),
        scope == .mount || option.scope == .all
      else { return [] }
      if option.isFlag { return value.texts == ["true"] ? ["--\(option.name)"] : [] }
      return value.texts.map { "--\(option.name)=\($0)" }
    }
  }
}
