import Artifacts
import ArgumentParser
import Content
import FileSystem
import MountDaemon
import OCI

/// `weightfs exists`.
struct Exists: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check whether an artifact exists: status 0 if it does, 3 if not, others for failures."
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
