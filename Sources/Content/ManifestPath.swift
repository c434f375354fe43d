package import OCI

/// The path from the descriptor of a reference, through indexes, to a manifest.
package enum ManifestPath {
  // Tools nest indexes one level deep, at most two.
  private static let maximumDepth = 4

  /// Follows indexes to the manifest of a platform.
  ///
  /// - Parameters:
  ///   - root: The descriptor of a manifest or an index.
  ///   - platform: The platform to select.
  ///   - read: Returns a verified document.
  /// - Returns: The documents of the indexes followed by that of the manifest, and the parsed manifest.
  /// - Throws: `ContentError`; of code `invalid` if indexes are nested too deep.
  package static func follow(
    _ root: Descriptor,
    _ platform: Platform = .current,
    _ read: (Descriptor) async throws(ContentError) -> ManifestDocument
  ) async throws(ContentError) -> (documents: [ManifestDocument], manifest: Manifest) {
    var documents: [ManifestDocument] = []
    var current = root
    for _ in 0...maximumDepth {
      let document = try await read(current)
      documents.append(document)
      switch document.content {
      case .manifest(let manifest): return (documents, manifest)
      case .index(let index):
        guard let next = index.manifest(for: platform) else {
          throw ContentError(.notFound, "\(current.digest)", "the index lists no manifest for this platform")
        }
        current = next.asManifest
      }
    }
    throw ContentError(.invalid, "\(root.digest)", "indexes are nested more than \(maximumDepth) deep")
  }
}
