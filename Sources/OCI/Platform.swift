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

extension Platform: CustomStringConvertible {
  /// The form that users write: `linux/arm64/v8`.
  package var description: String {
    ForeignText.excerpt(([os, architecture] + [variant].compactMap { $0 }).joined(separator: "/").utf8)
  }

  /// Parses `os/architecture[/variant]`, or returns nil.
  package init?(parsing text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard (2...3).contains(parts.count),
      parts.allSatisfy({ part in
        !part.isEmpty && part.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7a).contains($0) }
      })
    else { return nil }
    self.init(
      architecture: String(parts[1]),
      os: String(parts[0]),
      variant: parts.count == 3 ? String(parts[2]) : nil
    )
  }
}
