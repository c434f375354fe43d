/// An artifact or image: a config, layers and annotations (image-spec manifest.md).
///
/// Docker's schema 2 and the artifact manifest of the release candidates of image-spec 1.1 are represented by
/// the same type.
package struct Manifest: Sendable, Hashable {
  package var mediaType: MediaType?
  package var artifactType: MediaType?
  package var config: Descriptor?
  /// The descriptors of `layers`, followed by those of `blobs`.
  ///
  /// Some tools write one of the lists, some the other, some both: a blob that is in both with the same
  /// annotations is one layer, and neither list hides the other.
  package var layers: [Descriptor]
  package var subject: Descriptor?
  package var annotations: [String: String]
  /// Layers that cannot be verified, in order; they are no part of `layers`.
  package var foreignLayers: [ForeignLayer] = []
  /// The config, where it cannot be verified; `config` is nil then.
  package var foreignConfig: ForeignLayer?

  /// Creates a manifest.
  ///
  /// - Parameters:
  ///   - artifactType: The type of the artifact.
  ///   - config: The descriptor of the config.
  ///   - layers: The layers in order.
  ///   - annotations: The annotations.
  package init(
    artifactType: MediaType? = nil,
    config: Descriptor?,
    layers: [Descriptor],
    annotations: [String: String] = [:]
  ) {
    mediaType = .imageManifest
    self.artifactType = artifactType
    self.config = config
    self.layers = layers
    self.annotations = annotations
  }

  /// The type of the artifact: `artifactType`, else the media type of the config.
  package var effectiveArtifactType: MediaType? {
    if let artifactType, !artifactType.rawValue.isEmpty { return artifactType }
    return configType
  }

  /// The media type of the config, also where it cannot be verified.
  package var configType: MediaType? { config?.mediaType ?? foreignConfig?.mediaType }

  /// Whether this is a container image according to CRI-O: the config of an image, and no artifact type.
  package var isImage: Bool {
    if let artifactType, !artifactType.rawValue.isEmpty { return false }
    guard let type = configType else { return false }
    return type == .imageConfig || type == .dockerImageConfig
  }
}

extension Manifest: Codable {
  private enum CodingKeys: String, CodingKey {
    case schemaVersion, mediaType, artifactType, config, layers, blobs, subject, annotations
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    mediaType = try container.decodeIfPresent(MediaType.self, forKey: .mediaType)
    artifactType = try container.decodeIfPresent(MediaType.self, forKey: .artifactType)
    let entries = try container.decodeIfPresent([ManifestEntry].self, forKey: .layers) ?? []
    let blobs = try container.decodeIfPresent([ManifestEntry].self, forKey: .blobs) ?? []
    layers = entries.compactMap(\.descriptor)
    let known = Set(layers)
    layers += blobs.compactMap(\.descriptor).filter { !known.contains($0) }
    foreignLayers = entries.compactMap(\.foreign)
    let foreign = Set(foreignLayers)
    foreignLayers += blobs.compactMap(\.foreign).filter { !foreign.contains($0) }
    let configEntry = try container.decodeIfPresent(ManifestEntry.self, forKey: .config)
    (config, foreignConfig) = (configEntry?.descriptor, configEntry?.foreign)
    try Self.checkSizes((config.map { [$0] } ?? []) + layers, container.codingPath)
    subject = try container.decodeIfPresent(Descriptor.self, forKey: .subject)
    annotations = try container.decodeIfPresent([String: String].self, forKey: .annotations) ?? [:]
  }

  /// Rejects impossible sizes: two sizes of one blob, and size 0 of a blob that is not empty.
  private static func checkSizes(_ descriptors: [Descriptor], _ path: [any CodingKey]) throws {
    var sizes: [Digest: Int64] = [:]
    for descriptor in descriptors {
      let digest = descriptor.digest
      let known = sizes.updateValue(descriptor.size, forKey: digest) ?? descriptor.size
      let problem: String
      if known != descriptor.size {
        problem = "\(digest) has two sizes, \(known) and \(descriptor.size)"
      } else if (descriptor.size == 0) != emptyDigests.contains(digest.description) {
        problem = "\(digest) cannot have the size \(descriptor.size)"
      } else {
        continue
      }
      throw DecodingError.dataCorrupted(.init(codingPath: path, debugDescription: problem))
    }
  }

  /// The digests of empty content.
  private static let emptyDigests: Set<String> = [
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
  ]

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(2, forKey: .schemaVersion)
    try container.encodeIfPresent(mediaType, forKey: .mediaType)
    try container.encodeIfPresent(artifactType, forKey: .artifactType)
    try container.encodeIfPresent(config, forKey: .config)
    try container.encode(layers, forKey: .layers)
    try container.encodeIfPresent(subject, forKey: .subject)
    if !annotations.isEmpty { try container.encode(annotations, forKey: .annotations) }
  }
}
