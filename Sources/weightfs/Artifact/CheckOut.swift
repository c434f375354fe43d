import ArgumentParser
import Artifacts
import Content
import Fetching
import OCI
import SystemPackage

/// `weightfs checkout`.
struct CheckOut: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "checkout",
    abstract: "Write the files of an artifact as plain files, for places without FUSE.",
    discussion: """
      Missing bytes are fetched first, and everything is verified. Files are reflinks of the cached blobs where the \
      file system supports it, else hard links (which must not be modified), else copies.
      """
  )

  @Argument(help: "\(ArtifactSource.forms).")
  var source: String

  @Argument(help: "The directory to create; it must not exist or be empty.")
  var directory: String

  @Flag(help: "Make no hard links.")
  var copy = false

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let (artifact, assembly) = try await common.loadStrictly(source)
      let target = FilePath(AbsolutePath.of(directory))
      let (files, bytes) = try await Checkout(artifact, assembly, mayLink: !copy).write(
        to: target,
        show: Progress.show
      )
      Terminal.print("\(artifact.label)\t\(files) files\t\(bytes) bytes\t\(target)")
    }
  }
}
