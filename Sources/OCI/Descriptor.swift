import FoundationEssentials

/// What points at content: its type, digest and size (image-spec descriptor.md).
package struct Descriptor: Sendable, Hashable {
  package var mediaType: MediaType
  package var digest: Digest
  /// Bytes, never negative.
  package var size: Int64
  package var annotations: [String: String]
  /// The content itself where the descriptor carries it.
  ///
  /// Check it like any other content.
  package var data: [UInt8]?
  /// Other places that have it.
  package var urls: [String]
  package var artifactType: MediaType?
  package var platform: Platform?
  /// A member of Ollama's manifests: the path of a layer.
  package var name: String?

  /// Makes a descriptor.
  ///
  /// - Parameters:
  ///   - mediaType: of the content.
  ///   - digest: of its bytes.
  ///   - size: in bytes, not negative.
  ///   - annotations: any.
  package init(mediaType: MediaType, digest: Digest, size: Int64, annotations: [String: String] = [:]) {
    self.mediaType = mediaType
    self.digest = digest
    self.size = size
    self.annotations = annotations
    urls = []
  }
}

extension Descriptor {
  /// Whether an index may name it as an artifact: by its type, or without one.
  package var isManifestOrIndex: Bool {
    mediaType.rawValue.isEmpty || mediaType.withoutParameters.isManifest
      || mediaType.withoutParameters.isIndex
  }

  /// The same as a manifest where an index does not say what its entry is, so that it is asked for as one.
  package var asManifest: Descriptor {
    guard !mediaType.isManifest, !mediaType.isIndex else { return self }
    var copy = self
    copy.mediaType = .imageManifest
    return copy
  }
}

extension Descriptor: Codable {
  /// 64 TiB: a larger size is a lie, and sums of such sizes would overflow.
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
        debugDescription: "the size of \(digest) is \(size)"
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
