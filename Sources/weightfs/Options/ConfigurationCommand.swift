import ArgumentParser
import Configuration
import Content
import FoundationEssentials
import OCI

/// `weightfs config`.
struct ConfigurationCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config",
    abstract: "Show and check the configuration.",
    subcommands: [ShowConfiguration.self, CheckConfiguration.self, DocumentConfiguration.self]
  )
}

/// `weightfs config show`.
struct ShowConfiguration: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Show every option with its value and the place that sets it."
  )

  @Argument(help: "Show the values for a mount at this path.")
  var mountPoint: String?

  @Flag(help: "Print JSON.")
  var json = false

  private struct Row: Encodable {
    let name: String
    let value: [String]
    let origin: String
  }

  func run() async throws {
    try await ExitStatus.run {
      let point = mountPoint.map { AbsolutePath.of($0) }
      let merged = try ConfigurationFiles.merged(CommonOptions.environment, mountPoint: point)
      let rows = OptionTable.all.map { option in
        let value = merged.values[option.name]
        return Row(name: option.key, value: value?.texts ?? [], origin: value?.origin ?? "default")
      }
      if json {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let bytes = try encoder.encode(rows)
        return Terminal.print(String(decoding: bytes, as: UTF8.self))
      }
      let lines = zip(rows, OptionTable.all).map { row, option in
        let standard = option.standard.isEmpty ? "-" : option.standard
        let value =
          row.origin == "default" ? (option.isFlag ? "false" : standard) : row.value.joined(separator: ", ")
        return "\(row.name)\t\(value)\t\(row.origin)"
      }
      Terminal.print(lines.joined(separator: "\n"))
    }
  }
}

/// `weightfs config check`.
struct CheckConfiguration: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Check the configuration files and the environment; the exit status is 6 if they are wrong."
  )

  func run() async throws {
    try await ExitStatus.run {
      let environment = CommonOptions.environment
      let files = try ConfigurationFiles.read(environment)
      _ = try ConfigurationFiles.merged(environment)
      for file in files { Terminal.print("\(file.path): ok") }
      if files.isEmpty { Terminal.print("there is no configuration file: the defaults apply") }
    }
  }
}

/// `weightfs config document`: the reference of all options, for docs/ (`make docs`).
struct DocumentConfiguration: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "document",
    abstract: "Print the reference of all options.",
    shouldDisplay: false
  )

  enum Format: String, ExpressibleByArgument, CaseIterable {
    case markdown, man, options
  }

  @Argument(help: "markdown, man (weightfs.toml.5) or options (a part of weightfs.1).")
  var format: Format

  func run() throws {
    switch format {
    case .markdown: Terminal.print(OptionDocument.markdown)
    case .man: Terminal.print(OptionDocument.manual)
    case .options: Terminal.print(OptionDocument.manualOptions)
    }
  }
}
