/// Finds the file or directory that an inference engine should open (`weightfs path`).
///
/// Pure functions.
package enum EntryPoint {
  /// The result of a search.
  package enum Result: Sendable, Equatable {
    /// A path from the root of the artifact; empty for the root itself.
    case path(String)
    /// Several files are equally suitable.
    case ambiguous([String])
    /// Shards of the model are missing.
    case incomplete([String])
    /// The model, or a part of it, is a layer whose content does not match its name.
    case withheld(WithheldName)
    case none
  }

  // In images built by ramalama the model has its short name, without a suffix, and this link refers to it.
  private static let ramalamaLinks = ["model.file", "models/model.file"]

  /// Returns the model: the link of a ramalama image, the only GGUF file, the first shard of a split one, the
  /// directory of a safetensors model, else the only model file of another format.
  ///
  /// - Parameter tree: The tree of the artifact.
  package static func model(in tree: FileTree) -> Result {
    for link in ramalamaLinks {
      guard let node = tree.node(at: link), case .symbolicLink = tree.nodes[node].kind,
        let number = tree.resolve(link), case .file = tree.nodes[number].kind
      else { continue }
      return .path(link)
    }
    let raw = Set(tree.withheld.compactMap(\.shownAs))
    let shown = tree.files.map { tree.path(of: $0.node) }.filter { !raw.contains($0) }
    // The result if every layer were shown under its own name.
    let found = model(among: shown + tree.withheld.map(\.properPath))
    let missing = tree.withheld.first { name in
      let path = name.properPath
      switch found {
      case .path(let chosen): return path == chosen || isPart(path, of: chosen)
      case .ambiguous(let paths): return paths.contains(path)
      case .withheld, .incomplete, .none: return false
      }
    }
    if let missing { return .withheld(missing) }
    guard case .path(let chosen) = found else { return found }
    let shards = tree.missingShards.filter { isPart($0, of: chosen) }
    return shards.isEmpty ? found : .incomplete(shards)
  }

  /// Whether a path belongs to a selected model: it is below a selected directory, or another shard.
  private static func isPart(_ path: String, of chosen: String) -> Bool {
    if chosen.isEmpty || path.hasPrefix("\(chosen)/") { return true }
    guard let whole = Shards.Shard(path: chosen), let part = Shards.Shard(path: path) else { return false }
    return part.stem == whole.stem && part.count == whole.count
  }

  private static func model(among paths: [String]) -> Result {
    let gguf = paths.filter { $0.lowercased().hasSuffix(".gguf") && !isProjector($0) }
    if !gguf.isEmpty {
      let first = gguf.filter { Shards.Shard(path: $0)?.number ?? 1 == 1 }
      let models = first.isEmpty ? gguf : first
      return models.count == 1 ? .path(models[0]) : .ambiguous(models)
    }
    let safetensors = paths.filter { $0.lowercased().hasSuffix(".safetensors") }
    if !safetensors.isEmpty {
      let folders = Set(safetensors.map(folder))
      // Parts of one model (an encoder, a tokenizer) are below the directory that has its configuration.
      if folders.count == 1, let only = folders.first { return .path(only) }
      let roots = folders.filter { candidate in
        paths.contains(candidate.isEmpty ? "model_index.json" : "\(candidate)/model_index.json")
          || paths.contains(candidate.isEmpty ? "config.json" : "\(candidate)/config.json")
      }
      if paths.contains("model_index.json") { return .path("") }
      if roots.count == 1, let root = roots.first { return .path(root) }
      return .ambiguous(folders.sorted())
    }
    if paths.count == 1 { return .path(paths[0]) }
    let models = paths.filter { path in
      [".onnx", ".pt", ".pth", ".bin", ".task"].contains { path.hasSuffix($0) }
    }
    if models.count == 1 { return .path(models[0]) }
    return paths.isEmpty ? .none : .ambiguous(models.isEmpty ? paths : models)
  }

  /// Returns the projector of a multimodal model.
  ///
  /// - Parameter tree: The tree of the artifact.
  package static func projector(in tree: FileTree) -> Result {
    let found = tree.files.map { tree.path(of: $0.node) }.filter(isProjector)
    return found.isEmpty ? .none : found.count == 1 ? .path(found[0]) : .ambiguous(found)
  }

  private static func isProjector(_ path: String) -> Bool {
    let name = path.split(separator: "/").last.map { $0.lowercased() } ?? ""
    return name.hasSuffix(".gguf") && (name.contains("mmproj") || name.contains("projector"))
  }

  private static func folder(_ path: String) -> String {
    path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
  }
}
