import ArgumentParser
import Configuration
import Foundation
import TestSupport
import Testing
@testable import weightfs

/// The words of a command line: options of mount(8), of configuration files and of the environment.
struct InvocationTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func helper(_ words: String...) throws -> [String] {
    try Invocation(["mount", "--mount-helper"] + words).words
  }

  @Test func theArgumentsOfMountBecomeThoseOfTheCommand() throws {
    #expect(
      try helper(
        "models",
        "/m",
        "-sfn",
        "-o",
        #"rw,registry_root="/a,b",noexec"#,
        "-t",
        "weightfs",
        "-oro,ttl=5"
      )
        == ["mount", "-o", "noexec", "--registry-root=/a,b", "--ttl=5", "--again", "/m"]
    )
    #expect(try helper("ghcr.io/a/b:t", "/m") == ["mount", "--again", "ghcr.io/a/b:t", "/m"])
    #expect(try helper("/srv/models", "/m") == ["mount", "--again", "/m"])
    #expect(try helper("weightfs:/r", "/m") == ["mount", "--again", "--registry-root=/r", "/m"])
    #expect(try helper("weightfs:/r", "/m", "-o", "remount") == ["mount", "--remount", "/m"])
    #expect(try Invocation(["mount", "--mount-helper", "models", "/m", "-f"]).isFake)
    for wrong in [
      ["models"], ["models", "/m", "-o"], ["models", "/m", "-x"], ["models", "/m", "-o", "nonsense"],
    ] {
      #expect(throws: Invocation.Problem.self) { try Invocation(["mount", "--mount-helper"] + wrong) }
    }
  }

  @Test func optionsOfFstabWorkOnTheCommandLine() throws {
    #expect(
      try Invocation(["mount", "-o", "allow_other,noexec", "-oro", "a/b:t", "/m"]).words
        == ["mount", "--allow-other", "-o", "noexec", "a/b:t", "/m"]
    )
    #expect(try Invocation(["mount", "--", "-o", "/m"]).words == ["mount", "--", "-o", "/m"])
    #expect(try Invocation(["pull", "-o", "x"]).words == ["pull", "-o", "x"])
  }

  @Test func filesAndTheEnvironmentAddOptions() throws {
    let path = try folder.write(
      Array("ttl = 7\ncache_limit = \"1G\"\n[mount.\"/m\"]\nttl = 8\n".utf8),
      to: "config.toml"
    )
    let environment = ["WEIGHTFS_CONFIG": path, "WEIGHTFS_OFFLINE": "true"]
    func words(_ given: String...) throws -> [String] { try Invocation(given).configured(environment) }
    #expect(try words("mount", "/m") == ["mount", "--cache-limit=1G", "--offline", "--ttl=8", "/m"])
    #expect(
      try words("mount", "--ttl", "9", "/other") == [
        "mount", "--cache-limit=1G", "--offline", "--ttl", "9", "/other",
      ]
    )
    #expect(try words("pull", "a/b:t") == ["pull", "--cache-limit=1G", "--offline", "a/b:t"])
    #expect(
      try words("profile", "show", "a/b:t") == ["profile", "show", "--cache-limit=1G", "--offline", "a/b:t"]
    )
    #expect(try words("unmount", "/m") == ["unmount", "/m"])
    #expect(try words("mount", "--help") == ["mount", "--help"])
    #expect(throws: (any Error).self) {
      try Invocation(["ls"]).configured(["WEIGHTFS_CONFIG": folder.path("absent")])
    }
    #expect(try Invocation(["ls"]).configured(["WEIGHTFS_CONFIG": ""]) == ["ls"])
  }

  /// The table and the declarations of ArgumentParser are one.
  @Test func everyOptionOfTheTableIsDeclaredAndEveryDeclarationIsInTheTable() {
    #expect(Self.names(Mount.self) == Set(OptionTable.all.map(\.name)))
    #expect(Self.names(Exists.self) == Set(OptionTable.all.filter { $0.scope == .all }.map(\.name)))
    for command in Weightfs.configuration.subcommands {
      let name = command._commandName
      if Invocation.commandsWithoutOptions.contains(name) || name == "profile" { continue }
      #expect(Self.names(command).contains("offline"), "\(name)")
    }
  }

  private static func names(_ command: any ParsableCommand.Type) -> Set<String> {
    let help = Weightfs.helpMessage(for: command, columns: 400)
    var found: Set<String> = []
    for line in help.split(separator: "\n") {
      let text = line.drop { $0 == " " }
      if text.hasPrefix("--") { found.insert(String(text.dropFirst(2).prefix { $0.isLetter || $0 == "-" })) }
    }
    return found.subtracting(["help", "version", "foreground"])
  }

  @Test func documentsAreThoseOfTheTable() throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "docs")
    func text(_ path: String) throws -> String {
      try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }
    #expect(try text("configuration.md") == OptionDocument.markdown + "\n", "run 'make docs'")
    #expect(try text("man/weightfs.toml.5") == OptionDocument.manual + "\n", "run 'make docs'")
    #expect(try text("man/weightfs.1").contains(OptionDocument.manualOptions), "run 'make docs'")
  }
}
