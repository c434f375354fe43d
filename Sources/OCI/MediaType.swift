/// A media type.
package struct MediaType: RawRepresentable, Sendable, Hashable, Codable {
  package let rawValue: String

  package init(rawValue: String) { self.rawValue = rawValue }

  package init(from decoder: any Decoder) throws {
    rawValue = try decoder.singleValueContainer().decode(String.self)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(rawValue)
  }

  /// `application/vnd.oci.image.manifest.v1+json`.
  package static let imageManifest = MediaType(rawValue: "application/vnd.oci.image.manifest.v1+json")
  /// `application/vnd.oci.image.index.v1+json`.
  package static let imageIndex = MediaType(rawValue: "application/vnd.oci.image.index.v1+json")
  /// `application/vnd.oci.artifact.manifest.v1+json`, of the release candidates of image-spec 1.1.
  package static let artifactManifest = MediaType(rawValue: "application/vnd.oci.artifact.manifest.v1+json")
  /// `application/vnd.docker.distribution.manifest.v2+json`.
  package static let dockerManifest = MediaType(
    rawValue: "application/vnd.docker.distribution.manifest.v2+json"
  )
  /// `application/vnd.docker.distribution.manifest.list.v2+json`.
  package static let dockerManifestList = MediaType(
    rawValue: "application/vnd.docker.distribution.manifest.list.v2+json"
  )
  /// `application/vnd.oci.empty.v1+json`: two bytes, `{}`.
  package static let empty = MediaType(rawValue: "application/vnd.oci.empty.v1+json")
  /// `application/vnd.oci.image.config.v1+json`.
  package static let imageConfig = MediaType(rawValue: "application/vnd.oci.image.config.v1+json")
  /// `application/vnd.docker.container.image.v1+json`.
  package static let dockerImageConfig = MediaType(
    rawValue: "application/vnd.docker.container.image.v1+json"
  )

  /// The media types to accept when a manifest is requested, in order of preference.
  package static let manifests: [MediaType] = [
    .imageManifest, .imageIndex, .dockerManifest, .dockerManifestList, .artifactManifest,
  ]

  /// Whether the type is a list of manifests.
  package var isIndex: Bool { self == .imageIndex || self == .dockerManifestList }
  /// Whether the type is a manifest of one artifact or image.
  package var isManifest: Bool {
    self == .imageManifest || self == .dockerManifest || self == .artifactManifest
  }

  /// Whether the type is an uncompressed tar layer of a container image.
  package var isPlainImageTar: Bool {
    switch rawValue {
    case "application/vnd.oci.image.layer.v1.tar",
      "application/vnd.oci.image.layer.nondistributable.v1.tar",
      "application/vnd.docker.image.rootfs.diff.tar":
      true
    default: false
    }
  }

  /// Whether the type is a compressed tar layer of a container image.
  package var isCompressedImageTar: Bool {
    switch rawValue {
    case "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd",
      "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
      "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
      "application/vnd.docker.image.rootfs.diff.tar.gzip",
      "application/vnd.docker.image.rootfs.diff.tar.zstd",
      "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
      true
    default: false
    }
  }

  /// The type without parameters (`; charset=…`), for comparison with a Content-Type header.
  package var withoutParameters: MediaType {
    guard let semicolon = rawValue.firstIndex(of: ";") else { return self }
    var end = semicolon
    while end > rawValue.startIndex, rawValue[rawValue.index(before: end)] == " " {
      end = rawValue.index(before: end)
    }
    return MediaType(rawValue: String(rawValue[..<end]))
  }
}

extension MediaType: CustomStringConvertible {
  package var description: String { rawValue }
}
