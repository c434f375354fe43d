import Artifacts
import ArtifactTree
import Content
import OCI

/// The file or directory of an artifact that an inference engine opens.
enum EngineFile {
  /// Returns the path of the model from the root of the artifact; empty for the root itself.
  ///
  /// - Throws: `ContentError` if there is none, or the model is incomplete.
  static func model(of artifact: LoadedArtifact) throws(ContentError) -> String {
    try path(EntryPoint.model(in: artifact.tree), artifact.label, "model file")
  }

  /// Returns the path of the projector of a multimodal model.
  ///
  /// - Throws: `ContentError` if there is none.
  static func projector(of artifact: LoadedArtifact) throws(ContentError) -> String {
    try path(EntryPoint.projector(in: artifact.tree), artifact.label, "projector")
  }

  private static func path(
    _ result: EntryPoint.Result,
    _ label: String,
    _ kind: String
  ) throws(ContentError) -> String {
    switch result {
    case .path(let file): return file
    case .none: throw ContentError(.notFound, label, "the artifact has no \(kind)")
    case .withheld(let name):
      throw ContentError(
        .notFound,
        label,
        name.path.isEmpty ? "\(name.shownAs ?? "a layer") is not a model: \(name.reason)" : name.text,
        advice: "Pack the model again, with one file per layer and no archive"
      )
    case .ambiguous(let paths):
      throw ContentError(
        .notFound,
        label,
        "ambiguous model file: \(paths.prefix(8).map(ForeignText.visible).joined(separator: ", "))",
        advice: "Open one of them by its own path"
      )
    case .incomplete(let shards):
      throw ContentError(
        .corrupt,
        label,
        "the model lacks \(shards.prefix(8).map(ForeignText.visible).joined(separator: ", "))",
        advice: "Publish the artifact again with all shards"
      )
    }
  }

  /// The format of a model, as engines name it; nil for other formats.
  ///
  /// - Parameters:
  ///   - path: The result of `model(of:)`.
  ///   - tree: The tree of the artifact.
  static func format(of path: String, in tree: FileTree) -> String? {
    guard let node = tree.resolve(path) else { return nil }
    switch tree.nodes[node].kind {
    case .directory(let children):
      let isModel = children.contains { tree.name(of: $0)?.description.hasSuffix(".safetensors") ?? false }
      return isModel ? "safetensors" : nil
    case .file, .symbolicLink:
      let name = path.lowercased()
      if name.hasSuffix(".gguf") { return "gguf" }
      if name.hasSuffix(".safetensors") { return "safetensors" }
      // The link of a ramalama image has no suffix of its own.
      let target = tree.path(of: node).lowercased()
      return target.hasSuffix(".safetensors") ? "safetensors" : name.hasSuffix("model.file") ? "gguf" : nil
    }
  }
}
