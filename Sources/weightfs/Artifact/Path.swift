import Artifacts
import BlobCache
import ArgumentParser
import Content
import Glibc
import LocalRegistry
import MountDaemon
import OCI
import SystemPackage

/// `weightfs path`.
struct Path: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the path of the file that an inference engine should open.",
    discussion: """
      The GGUF file, the first shard of a split one, or the directory of a safetensors model, below the mount \
      point of the artifact or of a mounted tree (or --mountpoint).
      """
  )

  @Argument(help: "A reference.")
  var reference: String

  @Flag(help: "Print the projector of a multimodal model.")
  var mmproj = false

  @Flag(help: "Write colons as '__', for tools that split paths at colons.")
  var noColon = false

  @Option(help: "The mount point (default: that of the mounted tree, else /mnt/models).")
  var mountpoint: String?

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let reference = try Reference(parsing: reference)
      let assembly = try common.assemble()
      let artifact = try await assembly.load(.reference(reference))
      let file = try mmproj ? EngineFile.projector(of: artifact) : EngineFile.model(of: artifact)
      let place = MountedArtifact(reference, registryRoot: assembly.settings.root.path.string)
      let path = place.path(of: file, mountPoint: mountpoint, noColon: noColon)
      // The artifact may not be mounted: an engine must be able to open the printed path.
      guard await assembly.local.executor.ask({ Glibc.access(path, F_OK) == 0 }) else {
        let root = mountpoint ?? "/mnt/models"
        let advice = "Mount the tree with 'weightfs mount \(root)', or give its mount point with --mountpoint"
        throw ContentError(.notFound, path, "the path does not exist", advice: advice)
      }
      Terminal.print(path)
    }
  }
}
