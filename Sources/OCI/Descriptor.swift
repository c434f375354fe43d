import FoundationEssentials

/// A reference to content: its type, digest and size (image-spec descriptor.md).
package struct Descriptor: Sendable, Hashable {
  package var mediaType: MediaType
  package var digest: Digest
  /// Size in bytes, never negative.
  package var size: Int64
  package var annotations: [String: String]
  /// The content itself, if it is embedded in the descriptor.
  ///
  /// It is untrusted and must be verified like fetched content.
  package var data: [UInt8]?
  /// Other locations of the content.
  package var urls: [String]
  package var artifactType: MediaType?
  package var platform: Platform?
  /// The path of a layer, in manifests of Ollama.
  package var name: String?

  /// Creates a descriptor.
  ///
  /// - Parameters:
  ///   - mediaType: The type of the content.
  ///   - digest: The digest of its bytes.
  ///   - size: The size in bytes, not negative.
  ///   - annotations: The annotations.
  package init(mediaType: MediaType, digest: Digest, size: Int64, annotations: [String: String] = [:]) {
    self.mediaType = mediaType
    self.digest = digest
    self.size = size
    self.annotations = annotations
    urls = []
  }
}

extension Descriptor {
  /// Whether the descriptor may be an artifact in an index: by its type, or if it has none.
  package var isManifestOrIndex: Bool {
    mediaType.rawValue.isEmpty || mediaType.withoutParameters.isManifest
      || mediaType.withoutParameters.isIndex
  }

  /// The descriptor with the type of a manifest, if an index does not give the type of its entry.
  package var asManifest: Descriptor {
    guard !mediaType.isManifest, !mediaType.isIndex else { return self }
    var copy = self
    copy.mediaType = .imageManifest
    return copy
  }
}

extension Descriptor: Codable {
  /// 64 TiB; a larger size is certainly wrong, and sums of such sizes would overflow.
  private static let largestSize: Int64 = 64 << 40

  private enum CodingKeys: String, CodingKey {
    case mediaType, digest, size, annotations, data, urls, artifactType, platform, name
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    mediaType = try container.decodeIfPresent(MediaType.self, forKey: .mediaType) ?? MediaType(rawValue: "")
    digest = try container.decode(Digest.self, forKey: .digest)
    size = try container.decode(Int64.self, forKey: .size)
    guard (0...Self.largestSize).contains(size) else {
      throw DecodingError.dataCorruptedError(
        forKey: .size,
        in: container,
        debugDescription: "the size \(size) of \(digest) is out of range"
      )
    }
    annotations = try container.decodeIfPresent([String: String].self, forKey: .annotations) ?? [:]
    data = try container.decodeIfPresent(Data.self, forKey: .data).map { Array($0) }
    urls = try container.decodeIfPresent([String].self, forKey: .urls) ?? []
    artifactType = try container.decodeIfPresent(MediaType.self, forKey: .artifactType)
    platform = try container.decodeIfPresent(Platform.self, forKey: .platform)
    name = try container.decodeIfPresent(String.self, forKey: .name)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(mediaType, forKey: .mediaType)
    try container.encode(digest, forKey: .digest)
    try container.encode(size, forKey: .size)
    if !annotations.isEmpty { try container.encode(annotations, forKey: .annotations) }
    try container.encodeIfPresent(data.map { Data($0) }, forKey: .data)
    if !urls.isEmpty { try container.encode(urls, forKey: .urls) }
    try container.encodeIfPresent(artifactType, forKey: .artifactType)
    try container.encodeIfPresent(platform, forKey: .platform)
    try container.encodeIfPresent(name, forKey: .name)
  }
}
