import OCI

/// Determines the name of a raw layer from its annotations, in order of precedence.
enum LayerName {
  static let pathKeys = ["org.cncf.model.filepath", "org.cnai.model.filepath"]
  static let titleKey = "org.opencontainers.image.title"
  static let metadataKeys = ["org.cncf.model.file.metadata+json", "org.cnai.model.file.metadata+json"]

  /// The file metadata that ModelPack tools write.
  struct Metadata: Decodable {
    let name: String?
    let mode: UInt32?
    let mtime: String?
  }

  static func metadata(of layer: Descriptor) -> Metadata? {
    for key in metadataKeys {
      guard let text = layer.annotations[key], text.utf8.count <= 65_536 else { continue }
      // An annotation that is not readable is skipped; the title may name the layer.
      if let metadata = try? JSONDocument.decode(Metadata.self, from: Array(text.utf8)) { return metadata }
    }
    return nil
  }

  static func name(of layer: Descriptor, metadata: Metadata?) -> String? {
    path(in: layer.annotations) ?? metadata?.name.flatMap { $0.isEmpty ? nil : $0 }
  }

  /// The path that annotations give a layer; nil where they give none.
  static func path(in annotations: [String: String]) -> String? {
    (pathKeys + [titleKey]).compactMap { annotations[$0] }.first { !$0.isEmpty }
  }

  // Ollama names no files; these names are common among its users and in llama.cpp.
  private static let ollama: [String: (stem: String, suffix: String)] = [
    "model": ("model", ".gguf"), "projector": ("mmproj", ".gguf"), "adapter": ("adapter", ".gguf"),
    "draft": ("draft", ".gguf"), "template": ("template", ""), "prompt": ("prompt", ""),
    "system": ("system", ""), "params": ("params", ".json"), "messages": ("messages", ".json"),
    "license": ("LICENSE", ""),
  ]

  /// Returns the names that a layer's media type gives it, in order of precedence; names already used are
  /// skipped.
  static func names(byTypeOf layer: Descriptor) -> [String] {
    let prefix = "application/vnd.ollama.image."
    guard layer.mediaType.rawValue.hasPrefix(prefix) else { return [] }
    let kind = String(layer.mediaType.rawValue.dropFirst(prefix.count))
    if let name = layer.name, !name.isEmpty {
      switch kind {
      case "json": return [name]
      case "tensor": return ["tensors/\(name).safetensors"]
      default: break
      }
    }
    guard let (stem, suffix) = ollama[kind] else { return [] }
    return [stem + suffix] + (2...99).map { "\(stem)-\($0)\(suffix)" }
  }

  /// Returns the name of a layer without a name.
  static func fallback(_ layer: Descriptor) -> String { "\(layer.digest.algorithm)-\(layer.digest.hex)" }
}
