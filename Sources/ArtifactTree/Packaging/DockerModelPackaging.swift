import OCI

/// Models of Docker Model Runner, as on Docker Hub below `ai/`.
///
/// Layers without a name get the names of the directory that Docker Model Runner gives to an engine.
struct DockerModelPackaging: Packaging {
  let title = "Docker Model Runner"

  private static let prefix = "application/vnd.docker.ai."
  private static let types: Set<String> = [
    "application/vnd.docker.ai.model.config.v0.1+json", "application/vnd.docker.ai.model.config.v0.2+json",
  ]

  func recognizes(_ manifest: Manifest) -> Bool {
    manifest.hasType(Self.types) || manifest.hasLayer(withPrefix: [Self.prefix])
  }

  func plan(_ manifest: Manifest, config: [UInt8]) -> [LayerPlan] {
    let shards = Dictionary(grouping: manifest.layers) { Self.kind(of: $0) }.mapValues(\.count)
    var counts: [String: Int] = [:]
    return eachLayer(of: manifest) { layer in
      guard let kind = Self.kind(of: layer) else { return LayerPlan(byMediaTypeOf: layer) }
      if kind == "dir.tar" || kind == "vllm.config.tar" { return LayerPlan(layer, .archive) }
      let number = counts[kind, default: 0] + 1
      counts[kind] = number
      return LayerPlan(layer, .file, names: Self.names(kind, number, of: shards[kind] ?? 1))
    }
  }

  /// The media type without its prefix; nil for a media type of another packaging.
  private static func kind(of layer: Descriptor) -> String? {
    let type = layer.mediaType.withoutParameters.rawValue.lowercased()
    return type.hasPrefix(prefix) ? String(type.dropFirst(prefix.count)) : nil
  }

  private static func names(_ kind: String, _ number: Int, of count: Int) -> [String] {
    switch kind {
    case "gguf.v3": [shard("model", number, of: count, ".gguf")]
    case "safetensors": [shard("model", number, of: count, ".safetensors")]
    case "dduf": LayerName.numbered("model", ".dduf")
    case "mmproj", "gguf.v3.mmproj": LayerName.numbered("mmproj", ".gguf")
    case "gguf.v3.lora": LayerName.numbered("adapter", ".gguf")
    case "chat.template.jinja": LayerName.numbered("template", ".jinja")
    case "license": LayerName.numbered("LICENSE", "")
    default: []
    }
  }

  private static func shard(_ stem: String, _ number: Int, of count: Int, _ suffix: String) -> String {
    count > 1 ? Shards.path(stem, number, of: count, suffix) : stem + suffix
  }
}
