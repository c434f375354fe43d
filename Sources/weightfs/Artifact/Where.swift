import Artifacts
import ArgumentParser
import Content
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs where`.
struct Where: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the path and format of artifacts on this machine."
  )

  @Argument(help: "References.")
  var references: [String]

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await common.forEach(references) { reference, local in
      let (kind, path) = local.location(of: try await local.here(reference))
      Terminal.print("\(kind)\t\(path)")
    }
  }
}
