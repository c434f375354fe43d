/// A list of manifests (image-spec image-index.md; Docker's manifest list reads as the same value).
package struct Index: Sendable, Hashable {
  package var mediaType: MediaType?
  package var artifactType: MediaType?
  package var manifests: [Descriptor]
  package var annotations: [String: String]

  /// Makes an index.
  ///
  /// - Parameters:
  ///   - manifests: in order.
  ///   - annotations: any.
  package init(manifests: [Descriptor], annotations: [String: String] = [:]) {
    mediaType = .imageIndex
    self.manifests = manifests
    self.annotations = annotations
  }

  /// The manifest a machine takes: its platform's, else one that names no platform, else the only one,
  /// else the first.
  ///
  /// Attestations (`unknown/unknown`, `vnd.docker.reference.type`) are never taken.
  ///
  /// - Parameter platform: of the machine.
  /// - Returns: nil where there is none.
  package func manifest(for platform: Platform) -> Descriptor? {
    let candidates = manifests.filter { entry in
      entry.platform?.os != "unknown" && entry.annotations["vnd.docker.reference.type"] == nil
    }
    func fits(_ entry: Descriptor) -> Bool {
      entry.platform?.os == platform.os && entry.platform?.architecture == platform.architecture
    }
    return candidates.first { fits($0) && $0.platform?.variant == platform.variant }
      ?? candidates.first(where: fits) ?? candidates.first { $0.platform == nil } ?? candidates.first
  }
}

extension Index: Codable {
  private enum CodingKeys: String, CodingKey {
    case schemaVersion, mediaType, artifactType, manifests, annotations
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    mediaType = try container.decodeIfPresent(MediaType.self, forKey: .mediaType)
    artifactType = try container.decodeIfPresent(MediaType.self, forKey: .artifactType)
    manifests = try container.decodeIfPresent([Descriptor].self, forKey: .manifests) ?? []
    annotations = try container.decodeIfPresent([String: String].self, forKey: .annotations) ?? [:]
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(2, forKey: .schemaVersion)
    try container.encodeIfPresent(mediaType, forKey: .mediaType)
    try container.encodeIfPresent(artifactType, forKey: .artifactType)
    try container.encode(manifests, forKey: .manifests)
    if !annotations.isEmpty { try container.encode(annotations, forKey: .annotations) }
  }
}
