/// A list of manifests (image-spec image-index.md); a Docker manifest list is represented by the same type.
package struct Index: Sendable, Hashable {
  package var mediaType: MediaType?
  package var artifactType: MediaType?
  package var manifests: [Descriptor]
  package var annotations: [String: String]
  /// Entries that cannot be parsed, such as those with a digest of another algorithm, unchanged.
  ///
  /// Other tools write entries that weightfs does not support. Such an entry does not make the other entries
  /// unreadable, and is kept when the index is written again.
  package var foreign: [JSONValue] = []
  /// Why each of these entries cannot be parsed, one line each.
  package var problems: [String] = []

  /// Creates an index.
  ///
  /// - Parameters:
  ///   - manifests: The entries in order.
  ///   - annotations: The annotations.
  package init(manifests: [Descriptor], annotations: [String: String] = [:]) {
    mediaType = .imageIndex
    self.manifests = manifests
    self.annotations = annotations
  }

  /// A manifest of an index, selected for a platform.
  package struct Choice: Sendable, Equatable {
    package let manifest: Descriptor
    /// A sentence for the user if another manifest may be the one that is wanted.
    package let note: String?
  }

  /// Returns the manifest for a platform: the entry with this platform, else one without a platform, else the
  /// first; nil if there is no usable entry.
  ///
  /// Attestations (`vnd.docker.reference.type`) and entries of an unknown media type are never used; an entry
  /// without a media type counts as a manifest. An entry of the platform `unknown/unknown` is used only if
  /// there is no other.
  ///
  /// - Parameter platform: The platform of the machine, or the one that the user selected.
  package func choice(for platform: Platform) -> Choice? {
    let usable = manifests.filter {
      $0.annotations["vnd.docker.reference.type"] == nil && $0.isManifestOrIndex
    }
    let known = usable.filter { $0.platform?.os != "unknown" }
    let candidates = known.isEmpty ? usable : known
    func fits(_ entry: Descriptor) -> Bool {
      entry.platform?.os == platform.os && entry.platform?.architecture == platform.architecture
    }
    let found =
      candidates.first { fits($0) && $0.platform?.variant == platform.variant }
      ?? candidates.first(where: fits) ?? candidates.first { $0.platform == nil } ?? candidates.first
    guard let found else { return nil }
    return Choice(manifest: found, note: note(found, among: candidates, for: platform))
  }

  private func note(_ found: Descriptor, among candidates: [Descriptor], for platform: Platform) -> String? {
    if let other = found.platform, other.os != platform.os || other.architecture != platform.architecture {
      return "the index has no manifest for \(platform): that for \(other) is shown (\(found.digest))"
    }
    func kind(_ entry: Descriptor) -> String {
      ForeignText.excerpt((entry.artifactType?.rawValue ?? "a container image").utf8)
    }
    let others = candidates.filter {
      $0.digest != found.digest && ($0.platform == nil || $0.platform == found.platform)
    }
    guard !others.isEmpty else { return nil }
    let list = others.prefix(4).map { "\(kind($0)) @\($0.digest)" }.joined(separator: ", ")
    return "the index has several manifests: the first one is shown (\(kind(found)), \(found.digest)); "
      + "another one is selected by its digest: \(list)"
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
      entry.problem.map { "entry \(number + 1) skipped: \($0)" }
    }
    // Annotations are not used to find entries, so invalid ones are ignored.
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

/// An entry, or the reason why it cannot be parsed.
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
  /// Maximum size of an `index.json` in bytes, sufficient for about 200,000 entries.
  package static let maximumSize = 64 << 20
}
