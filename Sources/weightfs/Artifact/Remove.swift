import Artifacts
import ArgumentParser
import Content
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs rm`.
struct Remove: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rm",
    abstract: "Remove artifacts from the local registry, with the blobs that no other artifact has."
  )

  @Argument(help: "References.")
  var references: [String]

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await common.forEach(references) { reference, local in
      let freed = try await local.executor.run { () throws(ContentError) in try local.remove(reference) }
      Terminal.print("\(reference)\tremoved\t\(freed) bytes freed")
    }
  }
}
