/// The platform of a manifest in an index (image-spec image-index.md).
package struct Platform: Sendable, Hashable, Codable {
  package var architecture: String
  package var os: String
  package var variant: String?

  /// Creates a platform.
  ///
  /// - Parameters:
  ///   - architecture: The architecture by Go's name, such as `amd64`.
  ///   - os: The operating system by Go's name, such as `linux`.
  ///   - variant: The variant of the architecture, such as `v8`.
  package init(architecture: String, os: String, variant: String? = nil) {
    self.architecture = architecture
    self.os = os
    self.variant = variant
  }

  private enum CodingKeys: String, CodingKey {
    case architecture, os, variant
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    architecture = try container.decodeIfPresent(String.self, forKey: .architecture) ?? ""
    os = try container.decodeIfPresent(String.self, forKey: .os) ?? ""
    variant = try container.decodeIfPresent(String.self, forKey: .variant)
  }

  /// The platform that this program was compiled for.
  package static var current: Platform {
    #if arch(arm64)
    Platform(architecture: "arm64", os: "linux", variant: "v8")
    #else
    Platform(architecture: "amd64", os: "linux")
    #endif
  }
}
