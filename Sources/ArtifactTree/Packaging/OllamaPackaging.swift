import OCI

/// Models of Ollama: the media type says what a layer is; only the parts of split models have names.
struct OllamaPackaging: Packaging {
  let title = "Ollama"

  private static let prefix = "application/vnd.ollama.image."

  // Ollama names no files; these names are common among its users and in llama.cpp.
  private static let names: [String: (stem: String, suffix: String)] = [
    "model": ("model", ".gguf"), "projector": ("mmproj", ".gguf"), "adapter": ("adapter", ".gguf"),
    "draft": ("draft", ".gguf"), "template": ("template", ""), "prompt": ("prompt", ""),
    "system": ("system", ""), "params": ("params", ".json"), "messages": ("messages", ".json"),
    "license": ("LICENSE", ""),
  ]

  func recognizes(_ manifest: Manifest) -> Bool { manifest.hasLayer(withPrefix: [Self.prefix]) }

  func plan(_ manifest: Manifest, config: [UInt8]) -> [LayerPlan] {
    eachLayer(of: manifest) { layer in
      let type = layer.mediaType.rawValue
      guard type.lowercased().hasPrefix(Self.prefix) else { return LayerPlan(byMediaTypeOf: layer) }
      return LayerPlan(layer, .file, names: Self.names(String(type.dropFirst(Self.prefix.count)), layer))
    }
  }

  private static func names(_ kind: String, _ layer: Descriptor) -> [String] {
    if let name = layer.name, !name.isEmpty {
      if kind == "json" { return [name] }
      if kind == "tensor" { return ["tensors/\(name).safetensors"] }
    }
    return names[kind].map { LayerName.numbered($0.stem, $0.suffix) } ?? []
  }
}
