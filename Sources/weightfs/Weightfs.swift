import ArgumentParser

/// The program with its commands.
@main
struct Weightfs: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weightfs",
    abstract: "Mounts OCI model artifacts as plain files.",
    discussion: """
      Exit status: 0 success, 1 failed, 3 not found, 4 unauthorized, 5 unreachable, 6 corrupt, 64 wrong usage.
      """,
    version: "0.1.0",
    subcommands: [
      Mount.self, Unmount.self, Pull.self, Prefetch.self, Profile.self, List.self, Inspect.self, Path.self,
      Resolve.self, CheckOut.self, Cat.self, Exists.self, Save.self, Load.self, Convert.self, Tag.self,
      Remove.self, Where.self,
      Verify.self, Collect.self, Evict.self, Pin.self, Unpin.self,
    ]
  )
}
