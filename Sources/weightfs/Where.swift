import ArgumentParser
import Content
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs where`.
struct Where: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Tell where artifacts lie on this machine, and in which format."
  )

  @Argument(help: "References.")
  var references: [String]

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let parsed = try references.map { text throws(DocumentError) in try Reference(parsing: text) }
      let local = try common.assemble().local
      for reference in parsed {
        guard let found = try await local.artifact(reference) else {
          throw ContentError(
            .notFound,
            "\(reference)",
            "is not on this machine",
            advice: "'weightfs ls' lists what is; 'weightfs pull' fetches"
          )
        }
        let (kind, path) = local.location(of: found)
        Terminal.print("\(kind)\t\(path)")
      }
    }
  }
}
