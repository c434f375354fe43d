import OCI

/// The name that a raw layer's annotations give it, best first (formats.md A.0).
enum LayerName {
  static let pathKeys = ["org.cncf.model.filepath", "org.cnai.model.filepath"]
  static let titleKey = "org.opencontainers.image.title"
  static let metadataKeys = ["org.cncf.model.file.metadata+json", "org.cnai.model.file.metadata+json"]

  /// The file's metadata as ModelPack tools write it.
  struct Metadata: Decodable {
    let name: String?
    let mode: UInt32?
    let mtime: String?
  }

  static func metadata(of layer: Descriptor) -> Metadata? {
    for key in metadataKeys {
      guard let text = layer.annotations[key], text.utf8.count <= 65_536 else { continue }
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

  // formats.md A.4: Ollama names no files; these are what its users and llama.cpp call them.
  private static let ollama: [String: (stem: String, suffix: String)] = [
    "model": ("model", ".gguf"), "projector": ("mmproj", ".gguf"), "adapter": ("adapter", ".gguf"),
    "draft": ("draft", ".gguf"), "template": ("template", ""), "prompt": ("prompt", ""),
    "system": ("system", ""), "params": ("params", ".json"), "messages": ("messages", ".json"),
    "license": ("LICENSE", ""),
  ]

  /// The names that a layer's type gives it, best first: those that are taken are passed over.
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

  /// The name of a layer that has none.
  static func fallback(_ layer: Descriptor) -> String { "\(layer.digest.algorithm)-\(layer.digest.hex)" }
}
