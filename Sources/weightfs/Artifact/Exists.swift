import Artifacts
import ArgumentParser
import Content
import FileSystem
import MountDaemon
import OCI

/// `weightfs exists`.
struct Exists: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Tell by the exit status whether an artifact is there: 0 yes, 3 no, others as ever."
  )

  @Argument(help: "A reference.")
  var reference: String

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let reference = try Reference(parsing: reference)
      _ = try await common.assemble().resolver.resolve(reference)
    }
  }
}
