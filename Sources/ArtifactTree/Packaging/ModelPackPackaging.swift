import OCI

/// ModelPack of the CNCF, and its predecessor CNAI (modelpack/model-spec docs/spec.md).
///
/// Media types are `application/vnd.cncf.model.KIND.v1.raw`, `.tar`, `.tar+gzip` and `.tar+zstd`. The members
/// of a tar have their complete paths, so the path annotation of a tar is not used.
struct ModelPackPackaging: Packaging {
  let title = "CNCF ModelPack"

  private static let prefixes = ["application/vnd.cncf.model.", "application/vnd.cnai.model."]
  private static let types: Set<String> = [
    "application/vnd.cncf.model.manifest.v1+json", "application/vnd.cncf.model.config.v1+json",
    "application/vnd.cnai.model.manifest.v1+json", "application/vnd.cnai.model.config.v1+json",
  ]
  // Docker Model Runner wrote these before it used the specification's media types.
  private static let defaults = ["gguf": "model.gguf", "safetensors": "model.safetensors"]

  func recognizes(_ manifest: Manifest) -> Bool {
    manifest.hasType(Self.types) || manifest.hasLayer(withPrefix: Self.prefixes)
  }

  func plan(_ manifest: Manifest, config: [UInt8]) -> [LayerPlan] {
    eachLayer(of: manifest) { layer in
      let type = layer.mediaType.rawValue.lowercased()
      // ramalama writes media types found by looking at the content.
      guard Self.prefixes.contains(where: { type.hasPrefix($0) }) else {
        return LayerPlan(byMediaTypeOf: layer)
      }
      let words = LayerPlan.words(of: layer)
      if words.contains("tar") { return LayerPlan(layer, .archive) }
      return LayerPlan(
        layer,
        .file,
        names: words.last.flatMap { Self.defaults[String($0)] }.map { [$0] } ?? []
      )
    }
  }
}
