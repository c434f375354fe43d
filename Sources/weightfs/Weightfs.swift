import ArgumentParser
import Glibc

/// The program with its commands.
@main
struct Weightfs: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weightfs",
    abstract: "Mounts OCI model artifacts as plain files.",
    discussion: """
      Exit status: 0 success, 1 failed, 3 not found, 4 unauthorized, 5 unreachable, 6 corrupt, 64 wrong usage.
      """,
    version: Version.text,
    subcommands: [
      Mount.self, Unmount.self, Pull.self, Prefetch.self, Profile.self, List.self, Inspect.self, Path.self,
      Resolve.self, CheckOut.self, Cat.self, Exists.self, Save.self, Load.self, Convert.self, Tag.self,
      Remove.self, Where.self, ConfigurationCommand.self, Status.self, Health.self,
      Wait.self, Doctor.self, ReadThrough.self,
      Verify.self, Collect.self, Evict.self, Pin.self, Unpin.self,
    ]
  )

  // mount(8), "EXIT STATUS".
  private static let helperUsage: Int32 = 1
  private static let helperFailure: Int32 = 32

  static func main() async {
    let invocation: Invocation
    let words: [String]
    do {
      invocation = try Invocation(Array(CommandLine.arguments.dropFirst()))
      words = try invocation.configured(CommonOptions.environment)
    } catch {
      let isHelper = CommandLine.arguments.dropFirst(2).first == Invocation.helperFlag
      Terminal.printError("\(isHelper ? "mount.weightfs" : "weightfs"): \(error)")
      Glibc.exit(isHelper ? helperUsage : Self.exitCode(for: ValidationError("")).rawValue)
    }
    guard invocation.isHelper else { return await main(words) }
    do {
      var command = try parseAsRoot(words)
      if invocation.isFake { return }
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch let code as ExitCode where code == .success {
      return
    } catch {
      let message = Self.message(for: error)
      if !message.isEmpty { Terminal.printError("mount.weightfs: \(message)") }
      Glibc.exit(exitCode(for: error) == .validationFailure ? helperUsage : helperFailure)
    }
  }
}
