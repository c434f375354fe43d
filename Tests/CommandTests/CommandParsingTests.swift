import ArgumentParser
import Configuration
import Content
import Testing
@testable import weightfs

/// The commands' arguments and help, without running them.
struct CommandParsingTests {
  private static let commands = Weightfs.configuration.subcommands

  @Test func everyCommandSaysWhatItDoes() {
    #expect(Self.commands.count >= 20)
    for command in Self.commands {
      let abstract = command.configuration.abstract
      #expect(!abstract.isEmpty && abstract.hasSuffix("."), "\(command): \(abstract)")
      let help = Weightfs.helpMessage(for: command, columns: 100)
      for word in ["nobody", "somebody", "anew", "folder"] {
        #expect(!help.lowercased().contains(word), "\(command) says '\(word)'")
      }
    }
  }

  @Test(arguments: [
    ["pull"], ["mount"], ["mount", "a", "b", "c"], ["cat", "ghcr.io/a/b:t"], ["path"], ["unmount"],
    ["nothing"],
    ["pull", "--cache-limit", "0", "ghcr.io/a/b:t"], ["pull", "--timeout", "0", "ghcr.io/a/b:t"],
    ["pull", "--min-rate", "0", "ghcr.io/a/b:t"], ["pull", "--unknown", "ghcr.io/a/b:t"],
    ["mount", "--umask", "999", "/m"], ["mount", "--verify", "maybe", "/m"], ["mount", "--ttl", "-1", "/m"],
  ])
  func wrongUsageIsRefusedBeforeAnythingRuns(_ words: [String]) {
    #expect(throws: (any Error).self) { try Weightfs.parseAsRoot(words) }
  }

  @Test func optionsOfAllCommandsAreReadTheSameWay() throws {
    let pull = try #require(
      try Weightfs.parseAsRoot(["pull", "--registry-root", "/r", "--min-free", "5%", "ghcr.io/a/b:t"])
        as? Pull
    )
    #expect(pull.common.registryRoot == "/r")
    #expect(pull.common.minFree == .percent(5))
    let mount = try #require(try Weightfs.parseAsRoot(["mount", "--registry-root", "/r", "/m"]) as? Mount)
    #expect(mount.common.registryRoot == "/r")
  }

  @Test(arguments: ContentError.Code.allCases)
  func everyFailureHasAnExitStatusOfTheTable(_ code: ContentError.Code) {
    let status = ExitStatus.code(ContentError(code, "x", "y"))
    #expect([1, 3, 4, 5, 6].contains(status))
    #expect((status == 3) == (code == .notFound))
    #expect((status == 4) == (code == .unauthorized))
  }
}
