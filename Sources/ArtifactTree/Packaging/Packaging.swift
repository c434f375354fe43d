import OCI

/// A way to pack the files of a model into the layers of an artifact.
///
/// A pure value: it sees the manifest and, if it asks for it, the config; it reads no layer.
protocol Packaging: Sendable {
  /// The name in messages and in docs/packaging.md.
  var title: String { get }

  /// Whether an artifact is packed in this way.
  func recognizes(_ manifest: Manifest) -> Bool

  /// Whether the config says something about the files, so that it is read before the layers are planned.
  ///
  /// - Parameter manifest: An artifact that `recognizes` accepts.
  func readsConfig(of manifest: Manifest) -> Bool

  /// Whether every layer changes the layers below it, so that a layer that cannot be read makes the complete
  /// artifact unreadable.
  var stacksLayers: Bool { get }

  /// Returns what each layer becomes, in the order in which they are applied.
  ///
  /// - Parameters:
  ///   - manifest: An artifact that `recognizes` accepts.
  ///   - config: The bytes of the config; empty unless `readsConfig` says so and they can be read.
  func plan(_ manifest: Manifest, config: [UInt8]) -> [LayerPlan]
}

extension Packaging {
  func readsConfig(of manifest: Manifest) -> Bool { false }
  var stacksLayers: Bool { false }

  /// Returns the plan of an artifact whose layers are independent of each other.
  func eachLayer(of manifest: Manifest, _ plan: (Descriptor) -> LayerPlan) -> [LayerPlan] {
    manifest.layers.filter { $0.mediaType != .empty }.map(plan)
  }
}

/// The table of packagings: the first that recognizes an artifact plans its files.
enum Packagings {
  static let all: [any Packaging] = [
    KitOpsPackaging(), DockerModelPackaging(), ModelPackPackaging(), OllamaPackaging(), OMMXPackaging(),
    ImagePackaging(), FilePackaging(),
  ]

  /// Returns the packaging of an artifact.
  static func packaging(of manifest: Manifest) -> any Packaging {
    // The last one recognizes every artifact.
    all.first { $0.recognizes(manifest) } ?? FilePackaging()
  }
}

extension Manifest {
  /// Whether the artifact type, or the type of the config, is one of some types.
  func hasType(_ types: Set<String>) -> Bool {
    [artifactType, configType].contains { type in
      type.map { types.contains($0.withoutParameters.rawValue.lowercased()) } ?? false
    }
  }

  /// Whether a layer has a media type that starts with one of some prefixes.
  func hasLayer(withPrefix prefixes: [String]) -> Bool {
    layers.contains { layer in
      let type = layer.mediaType.rawValue.lowercased()
      return prefixes.contains { type.hasPrefix($0) }
    }
  }
}
