import Hashing
package import OCI

extension BlobFetcher {
  /// Fetches a small blob whole and verifies it.
  ///
  /// Content that the descriptor carries itself is taken from there.
  ///
  /// - Parameters:
  ///   - descriptor: of the content.
  ///   - limit: of its size in bytes.
  /// - Throws: `ContentError` with `corrupt` where the bytes are not what the descriptor says.
  package func verifiedBytes(of descriptor: Descriptor, limit: Int64) async throws(ContentError) -> [UInt8] {
    guard descriptor.size <= limit else {
      throw ContentError(
        .invalid,
        "\(descriptor.digest)",
        "has \(descriptor.size) bytes, more than the \(limit) that are read into memory"
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
        "\(bytes.count) bytes came, the descriptor says \(descriptor.size)"
      )
    }
    let actual = HashStream.digest(of: bytes, descriptor.digest.algorithm)
    guard actual == descriptor.digest else {
      throw ContentError(.corrupt, "\(descriptor.digest)", "the bytes that came have the digest \(actual)")
    }
    return bytes
  }

  /// Fetches a range into memory.
  ///
  /// The bytes are not verified.
  ///
  /// - Parameters:
  ///   - descriptor: of the content.
  ///   - range: bytes within it, as few as memory allows.
  /// - Returns: exactly as many bytes as asked for.
  /// - Throws: `ContentError`.
  package func bytes(of descriptor: Descriptor, range: Range<Int64>) async throws(ContentError) -> [UInt8] {
    let sink = MemorySink(start: range.lowerBound, limit: range.count)
    try await fetch(descriptor, range: range, into: sink)
    let bytes = sink.take()
    guard bytes.count == range.count else {
      throw ContentError(.unreachable, "\(descriptor.digest)", "\(bytes.count) of \(range.count) bytes came")
    }
    return bytes
  }

  /// Fetches, verifies and reads a manifest or an index.
  ///
  /// - Parameter descriptor: of the document, at most 4 MiB.
  /// - Throws: `ContentError` with `invalid` where it cannot be read.
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
  ///   - descriptor: of a manifest or an index.
  ///   - platform: of this machine.
  /// - Throws: `ContentError`; `invalid` where indexes lie more than four deep in each other.
  package func manifest(
    _ descriptor: Descriptor,
    platform: Platform = .current
  ) async throws(ContentError) -> (document: ManifestDocument, manifest: Manifest) {
    let (documents, manifest) = try await ManifestPath.follow(descriptor, platform) {
      (next) async throws(ContentError) in try await document(next)
    }
    return (documents[documents.count - 1], manifest)
  }
}
