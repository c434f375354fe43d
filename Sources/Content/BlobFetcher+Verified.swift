import Hashing
package import OCI

extension BlobFetcher {
  /// Fetches a small blob completely and verifies it.
  ///
  /// Content that is embedded in the descriptor is not fetched.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the content.
  ///   - limit: The maximum size in bytes.
  /// - Throws: `ContentError`; of code `corrupt` if the bytes do not match the descriptor.
  package func verifiedBytes(of descriptor: Descriptor, limit: Int64) async throws(ContentError) -> [UInt8] {
    guard descriptor.size <= limit else {
      throw ContentError(
        .invalid,
        "\(descriptor.digest)",
        "size \(descriptor.size) bytes exceeds the limit of \(limit) bytes in memory"
      )
    }
    if let data = descriptor.verifiedData { return data }
    let sink = MemorySink(limit: Int(descriptor.size))
    if descriptor.size > 0 { try await fetch(descriptor, range: 0..<descriptor.size, into: sink) }
    let bytes = sink.take()
    guard Int64(bytes.count) == descriptor.size else {
      throw ContentError(
        .corrupt,
        "\(descriptor.digest)",
        "received \(bytes.count) bytes, the descriptor says \(descriptor.size)"
      )
    }
    let actual = HashStream.digest(of: bytes, descriptor.digest.algorithm)
    guard actual == descriptor.digest else {
      throw ContentError(.corrupt, "\(descriptor.digest)", "the received bytes have the digest \(actual)")
    }
    return bytes
  }

  /// Fetches a range into memory, without verifying it.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the content.
  ///   - range: A byte range, small enough for memory.
  /// - Returns: Exactly the requested number of bytes.
  /// - Throws: `ContentError`.
  package func bytes(of descriptor: Descriptor, range: Range<Int64>) async throws(ContentError) -> [UInt8] {
    let sink = MemorySink(start: range.lowerBound, limit: range.count)
    try await fetch(descriptor, range: range, into: sink)
    let bytes = sink.take()
    guard bytes.count == range.count else {
      throw ContentError(.unreachable, "\(descriptor.digest)", "got \(bytes.count) of \(range.count) bytes")
    }
    return bytes
  }

  /// Fetches, verifies and parses a manifest or an index.
  ///
  /// - Parameter descriptor: The descriptor of the document, at most 4 MiB.
  /// - Throws: `ContentError`; of code `invalid` if the document cannot be parsed.
  package func document(_ descriptor: Descriptor) async throws(ContentError) -> ManifestDocument {
    let bytes = try await verifiedBytes(of: descriptor, limit: ManifestDocument.maximumSize)
    do {
      return try ManifestDocument(bytes: bytes, digest: descriptor.digest, declared: descriptor.mediaType)
    } catch {
      throw ContentError(.invalid, "\(descriptor.digest)", error.reason)
    }
  }

  /// Follows indexes to the manifest of a platform.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of a manifest or an index.
  ///   - platform: The platform to select.
  /// - Throws: `ContentError`; of code `invalid` if indexes are nested more than four levels deep.
  package func manifest(
    _ descriptor: Descriptor,
    platform: Platform = .current
  ) async throws(ContentError) -> (document: ManifestDocument, manifest: Manifest) {
    let (documents, manifest, _) = try await ManifestPath.follow(descriptor, platform) {
      (next) async throws(ContentError) in try await document(next)
    }
    return (documents[documents.count - 1], manifest)
  }
}
