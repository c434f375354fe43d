import OCI

/// ModelKits of KitOps: the config is the Kitfile, whose elements name the layers of each kind in order.
///
/// Media types are `application/vnd.kitops.modelkit.KIND.v1.tar` or `.raw`, with `+gzip`, `+gzip-fastest` or
/// `+zstd` if compressed. The members of a tar have complete paths if its element has a digest; older tars are
/// unpacked in the directory of the element's path.
struct KitOpsPackaging: Packaging {
  let title = "KitOps ModelKit"

  private static let prefix = "application/vnd.kitops.modelkit."
  private static let types: Set<String> = [
    "application/vnd.kitops.modelkit.manifest.v1+json", "application/vnd.kitops.modelkit.config.v1+json",
  ]

  func recognizes(_ manifest: Manifest) -> Bool {
    manifest.hasType(Self.types) || manifest.hasLayer(withPrefix: [Self.prefix])
  }

  /// The parts of a Kitfile that concern layers.
  private struct Kitfile: Decodable {
    struct Element: Decodable {
      let path: String?
      let digest: String?
      let diffId: String?

      /// The directory that an old tar's members are relative to.
      var folder: String {
        guard digest == nil, diffId == nil, let path, let slash = path.lastIndex(of: "/") else { return "" }
        return String(path[..<slash])
      }
    }

    struct Model: Decodable {
      let path: String?
      let digest: String?
      let diffId: String?
      let parts: [Element]?
    }

    let model: Model?
    let code: [Element]?
    let datasets: [Element]?
    let docs: [Element]?

    /// The elements of a kind of layer, in the order of its layers.
    func elements(_ kind: Substring) -> [Element] {
      switch kind {
      case "model": model.map { [Element(path: $0.path, digest: $0.digest, diffId: $0.diffId)] } ?? []
      case "modelpart": model?.parts ?? []
      case "code": code ?? []
      case "dataset": datasets ?? []
      case "docs": docs ?? []
      default: []
      }
    }
  }

  func readsConfig(of manifest: Manifest) -> Bool { true }

  func plan(_ manifest: Manifest, config: [UInt8]) -> [LayerPlan] {
    // Without a readable Kitfile the annotations name the layers, and tars are unpacked at the root.
    let kitfile = try? JSONDocument.decode(Kitfile.self, from: config)
    var counts: [Substring: Int] = [:]
    var plans = eachLayer(of: manifest) { layer in
      guard layer.mediaType.rawValue.lowercased().hasPrefix(Self.prefix) else {
        return LayerPlan(byMediaTypeOf: layer)
      }
      let words = LayerPlan.words(of: layer)
      let kind = words.dropFirst(3).first ?? ""
      let number = counts[kind, default: 0]
      counts[kind] = number + 1
      let elements = kitfile?.elements(kind) ?? []
      let element = number < elements.count ? elements[number] : nil
      if words.contains("tar") {
        var plan = LayerPlan(layer, .archive)
        plan.folder = element?.folder ?? ""
        plan.diffID = element?.diffId.flatMap { Digest($0) }
        return plan
      }
      let isCompressed = words.contains("gzip") || words.contains("zstd")
      let names = element?.path.map { [$0] } ?? []
      return LayerPlan(layer, isCompressed ? .compressedFile : .file, names: names)
    }
    if let config = manifest.config, manifest.hasType(Self.types) {
      // JSON is YAML, which a Kitfile is written in.
      plans.append(LayerPlan(config, .file, names: ["Kitfile"]))
    }
    return plans
  }
}
