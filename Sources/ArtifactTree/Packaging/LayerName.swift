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

  /// Returns a name, and the same name with numbers for further layers of its kind.
  static func numbered(_ stem: String, _ suffix: String) -> [String] {
    [stem + suffix] + (2...99).map { "\(stem)-\($0)\(suffix)" }
  }

  /// Returns the name of a layer without a name.
  static func fallback(_ layer: Descriptor) -> String { "\(layer.digest.algorithm)-\(layer.digest.hex)" }
}
