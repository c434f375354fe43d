/// A layer or config whose digest is of an algorithm that weightfs does not compute, such as `sha384` or `blake3`.
///
/// Its bytes cannot be verified, so they are never shown; the other layers of its manifest are.
package struct ForeignLayer: Sendable, Hashable {
  package let mediaType: MediaType
  /// As the manifest has it.
  package let digest: String
  package let annotations: [String: String]

  /// One line for a user.
  package var reason: String {
    "its digest '\(ForeignText.excerpt(digest.utf8, limit: 100))' is of an algorithm that weightfs cannot verify"
  }
}

/// A descriptor of a manifest, of an algorithm that is known or not.
enum ManifestEntry: Decodable {
  case known(Descriptor)
  case foreign(ForeignLayer)

  private enum CodingKeys: String, CodingKey {
    case mediaType, digest, annotations
  }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let digest = try container.decode(String.self, forKey: .digest)
    guard Digest.isForeign(digest) else {
      self = .known(try Descriptor(from: decoder))
      return
    }
    self = .foreign(
      ForeignLayer(
        mediaType: try container.decodeIfPresent(MediaType.self, forKey: .mediaType)
          ?? MediaType(rawValue: ""),
        digest: digest,
        annotations: try container.decodeIfPresent([String: String].self, forKey: .annotations) ?? [:]
      )
    )
  }

  var descriptor: Descriptor? { if case .known(let descriptor) = self { descriptor } else { nil } }
  var foreign: ForeignLayer? { if case .foreign(let layer) = self { layer } else { nil } }
}

extension Digest {
  /// Whether a text is a digest by the grammar of the specification, of an algorithm other than those of `Algorithm`
  /// (image-spec descriptor.md: unrecognized algorithms pass).
  ///
  /// - Parameter text: from a document.
  package static func isForeign(_ text: String) -> Bool {
    let parts = text.utf8.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, Algorithm(rawValue: String(Substring(parts[0]))) == nil, !parts[1].isEmpty,
      text.utf8.count <= 1024
    else { return false }
    let separators = Set("+._-".utf8)
    let components = parts[0].split(omittingEmptySubsequences: false) { separators.contains($0) }
    func isLowerOrDigit(_ byte: UInt8) -> Bool {
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
    return components.allSatisfy { !$0.isEmpty && $0.allSatisfy(isLowerOrDigit) }
      && parts[1].allSatisfy { byte in
        isLowerOrDigit(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
          || Set("=_-".utf8).contains(byte)
      }
  }
}
