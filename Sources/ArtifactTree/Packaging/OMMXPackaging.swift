import OCI

/// Optimization problems of OMMX: layers have a kind and a number, no names.
///
/// Their order is part of the artifact, so the names start with it: `00-instance.pb`, `01-solution.pb`.
struct OMMXPackaging: Packaging {
  let title = "OMMX"

  private static let types: Set<String> = [
    "application/org.ommx.v1.artifact", "application/org.ommx.v1.experiment",
    "application/org.ommx.v1.config+json", "application/org.ommx.v1.experiment.config+json",
  ]
  private static let kinds: [String: (kind: String, suffix: String)] = [
    "application/vnd.numpy": ("array", ".npy"), "application/vnd.apache.parquet": ("table", ".parquet"),
    "application/org.ommx.trace.otlp+protobuf": ("trace", ".pb"),
    "application/org.ommx.diagnostic+msgpack": ("diagnostic", ".msgpack"),
    "application/json": ("document", ".json"), "text/csv": ("table", ".csv"), "text/plain": ("text", ".txt"),
  ]

  func recognizes(_ manifest: Manifest) -> Bool { manifest.hasType(Self.types) }

  func plan(_ manifest: Manifest, config: [UInt8]) -> [LayerPlan] {
    var number = -1
    return eachLayer(of: manifest) { layer in
      number += 1
      let digits = number < 10 ? "0\(number)" : "\(number)"
      let (kind, suffix) = Self.kind(of: layer)
      return LayerPlan(layer, .file, names: ["\(digits)-\(kind)\(suffix)"])
    }
  }

  /// Returns the kind of a layer and the suffix of its file.
  private static func kind(of layer: Descriptor) -> (kind: String, suffix: String) {
    let type = layer.mediaType.withoutParameters.rawValue.lowercased()
    if let known = kinds[type] { return known }
    // `application/org.ommx.v1.instance` is a message of protocol buffers.
    if type.hasPrefix("application/org.ommx.v"), let kind = type.split(separator: ".").last {
      return (String(kind), ".pb")
    }
    let words = LayerPlan.words(of: layer)
    return (words.last.map { String($0) } ?? "layer", "")
  }
}
