/// A list of manifests (image-spec image-index.md; Docker's manifest list reads as the same value).
package struct Index: Sendable, Hashable {
  package var mediaType: MediaType?
  package var artifactType: MediaType?
  package var manifests: [Descriptor]
  package var annotations: [String: String]
  /// Entries that cannot be read, such as those with a digest of another algorithm, as they stand in the document.
  ///
  /// Other tools write what they understand; one entry of theirs does not make the others unreadable, and is written
  /// again with them.
  package var foreign: [JSONValue] = []
  /// Why each of them cannot be read, one line each.
  package var problems: [String] = []

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
  /// Attestations (`unknown/unknown`, `vnd.docker.reference.type`) and entries of an unknown media type are never
  /// taken; an entry without a media type is taken for a manifest.
  ///
  /// - Parameter platform: of the machine.
  /// - Returns: nil where there is none.
  package func manifest(for platform: Platform) -> Descriptor? {
    let candidates = manifests.filter { entry in
      entry.platform?.os != "unknown" && entry.annotations["vnd.docker.reference.type"] == nil
        && entry.isManifestOrIndex
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
    let entries = try container.decodeIfPresent([LenientEntry].self, forKey: .manifests) ?? []
    manifests = entries.compactMap(\.descriptor)
    foreign = entries.compactMap(\.foreign)
    problems = entries.enumerated().compactMap { number, entry in
      entry.problem.map { "entry \(number + 1) is passed over: \($0)" }
    }
    // Nothing is found by them: odd ones cost nobody the entries.
    annotations = (try? container.decodeIfPresent([String: String].self, forKey: .annotations)) ?? [:]
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(2, forKey: .schemaVersion)
    try container.encodeIfPresent(mediaType, forKey: .mediaType)
    try container.encodeIfPresent(artifactType, forKey: .artifactType)
    if foreign.isEmpty {
      try container.encode(manifests, forKey: .manifests)
    } else {
      var entries = container.nestedUnkeyedContainer(forKey: .manifests)
      for manifest in manifests { try entries.encode(manifest) }
      for entry in foreign { try entries.encode(entry) }
    }
    if !annotations.isEmpty { try container.encode(annotations, forKey: .annotations) }
  }
}

/// An entry, or why it cannot be read.
private struct LenientEntry: Decodable {
  let descriptor: Descriptor?
  let foreign: JSONValue?
  let problem: String?

  init(from decoder: any Decoder) throws {
    do {
      descriptor = try Descriptor(from: decoder)
      (foreign, problem) = (nil, nil)
    } catch let error as DecodingError {
      descriptor = nil
      foreign = try JSONValue(from: decoder)
      problem = ForeignText.excerpt(JSONDocument.describe(error).utf8)
    }
  }
}

extension Index {
  /// The maximum size of an `index.json`, bytes: some 200,000 entries.
  package static let maximumSize = 64 << 20
}
