import Artifacts
import Stores
import Layouts
import ArgumentParser
import Content
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs tag`.
struct Tag: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Add a name for an artifact of this machine; the new name is final until 'pull'."
  )

  @Argument(help: "The reference of a complete artifact.")
  var source: String

  @Argument(help: "The new name.")
  var target: String

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let source = try Reference(parsing: source)
      let target = try Reference(parsing: target)
      guard target.digest == nil else {
        throw ValidationError("the new name must not have a digest")
      }
      let local = try common.assemble().local
      let found = try await local.here(source)
      try await local.executor.run { () throws(ContentError) in
        let format = found.repository.format ?? .directory
        try local.put(try local.contents(of: found), as: target, format: format)
      }
      Terminal.print("\(target)\t\(found.descriptor.digest)")
    }
  }
}
