import Artifacts
import BlobCache
import ArgumentParser
import ArtifactTree
import Content
import FileSystem
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
      point of a mounted tree (or --mountpoint).
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
      let result = mmproj ? EntryPoint.projector(in: artifact.tree) : EntryPoint.model(in: artifact.tree)
      switch result {
      case .none:
        throw ContentError(
          .notFound,
          "\(reference)",
          mmproj ? "the artifact has no projector" : "the artifact has no model file"
        )
      case .withheld(let name):
        throw ContentError(
          .notFound,
          "\(reference)",
          name.path.isEmpty ? "\(name.shownAs ?? "a layer") is not a model: \(name.reason)" : name.text,
          advice: "Pack the model again, with one file per layer and no archive"
        )
      case .ambiguous(let paths):
        throw ContentError(
          .notFound,
          "\(reference)",
          "ambiguous model file: \(paths.prefix(8).map(ForeignText.visible).joined(separator: ", "))",
          advice: "Open one of them by its own path"
        )
      case .path(let file):
        let registry = assembly.settings.root.path.string
        let mounted = MountPoints.all().last { $0.isTree(of: registry) }?.path
        let root = mountpoint.map(AbsolutePath.of) ?? mounted ?? "/mnt/models"
        let folder = "\(root)/\(spelling(reference))"
        let path = file.isEmpty ? folder : "\(folder)/\(file)"
        // The artifact may not be mounted: an engine must be able to open the printed path.
        guard await assembly.local.executor.ask({ Glibc.access(path, F_OK) == 0 }) else {
          let advice =
            "Mount the tree with 'weightfs mount \(root)', or give its mount point with --mountpoint"
          throw ContentError(.notFound, path, "the path does not exist", advice: advice)
        }
        Terminal.print(path)
      }
    }
  }

  private func spelling(_ reference: Reference) -> String {
    let name =
      reference.digest.map { "\(reference.repository)@\($0)" }
      ?? "\(reference.repository):\(reference.target)"
    return noColon ? ReferencePath.escape(name) : name
  }
}
