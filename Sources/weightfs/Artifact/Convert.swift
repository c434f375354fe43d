import Artifacts
import Layouts
import ArgumentParser
import Content
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs convert`.
struct Convert: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Convert artifacts of the local registry to oci-dir or oci-archive."
  )

  @Argument(help: "References of complete artifacts.")
  var references: [String]

  @Option(help: "oci-dir or oci-archive.")
  var format: LayoutFormat

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let parsed = try EachReference.parse(references)
      let local = try common.assemble().local
      let format = format
      try await EachReference.run(parsed) { reference in
        let isNew = try await local.executor.run { () throws(ContentError) in
          try local.convert(reference, to: format)
        }
        let (kind, path) = local.location(of: try await local.here(reference))
        Terminal.print("\(reference)\t\(isNew ? "is now" : "was already") \(kind)\t\(path)")
      }
    }
  }
}
