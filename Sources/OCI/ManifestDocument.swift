/// A manifest or an index as received: the bytes that have its digest, and their parsed form.
package struct ManifestDocument: Sendable {
  /// The parsed form.
  package enum Content: Sendable {
    case manifest(Manifest)
    case index(Index)
  }

  /// Maximum size of a document in bytes: 4 MiB, which distribution-spec requires registries to accept.
  package static let maximumSize: Int64 = 4 << 20

  /// The type, digest and size of the bytes.
  package let descriptor: Descriptor
  /// The bytes as received, never re-encoded.
  package let bytes: [UInt8]
  package let content: Content

  private struct Shape: Decodable {
    struct Present: Decodable {
      init(from decoder: any Decoder) throws {}
    }
    let mediaType: MediaType?
    let manifests: Present?
    let layers: Present?
    let blobs: Present?
    let config: Present?
    let schemaVersion: Int?
  }

  /// Parses a document.
  ///
  /// - Parameters:
  ///   - bytes: At most `maximumSize` bytes.
  ///   - digest: The digest of these bytes, already verified.
  ///   - declared: The media type of the Content-Type header or descriptor, for documents without a type
  ///     (OMMX and KitOps omit it).
  /// - Throws: `DocumentError`.
  package init(bytes: [UInt8], digest: Digest, declared: MediaType?) throws(DocumentError) {
    guard bytes.count <= Self.maximumSize else {
      throw DocumentError(reason: "manifest size \(bytes.count) bytes exceeds 4 MiB")
    }
    let shape = try JSONDocument.decode(Shape.self, from: bytes)
    // Tools would interpret such a document in different ways (CVE-2021-41190).
    if shape.manifests != nil, shape.layers != nil || shape.config != nil || shape.blobs != nil {
      throw DocumentError(reason: "the document has 'manifests' and 'layers': it is ambiguous")
    }
    if shape.schemaVersion == 1 {
      throw DocumentError(reason: "Docker schema 1 manifests are not supported: push the image again")
    }
    let named = shape.mediaType?.withoutParameters
    let type: MediaType
    if let named, named.isIndex || named.isManifest {
      type = named
    } else if let declared = declared?.withoutParameters, declared.isIndex || declared.isManifest {
      type = declared
    } else {
      type = shape.manifests == nil ? .imageManifest : .imageIndex
    }
    if type.isIndex {
      guard shape.manifests != nil else { throw DocumentError(reason: "the index has no 'manifests'") }
      content = .index(try JSONDocument.decode(Index.self, from: bytes))
    } else {
      guard shape.layers != nil || shape.blobs != nil || shape.config != nil else {
        throw DocumentError(reason: "the manifest has neither 'layers' nor 'config'")
      }
      content = .manifest(try JSONDocument.decode(Manifest.self, from: bytes))
    }
    self.bytes = bytes
    descriptor = Descriptor(mediaType: type, digest: digest, size: Int64(bytes.count))
  }
}
