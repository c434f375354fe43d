package import OCI

/// The way from what a reference stands for, through indexes, to a manifest.
package enum ManifestPath {
  // Indexes lie in each other once, at most twice, in what tools write.
  private static let maximumDepth = 4

  /// Follows indexes to the manifest of a platform.
  ///
  /// - Parameters:
  ///   - root: of a manifest or an index.
  ///   - platform: of this machine.
  ///   - read: gives a document that was verified.
  /// - Returns: the indexes that lead to the manifest, the manifest's document last, and what it says.
  /// - Throws: `ContentError`; `invalid` where indexes lie too deep in each other.
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
          throw ContentError(.notFound, "\(current.digest)", "the index lists no manifest that can be used")
        }
        current = next.asManifest
      }
    }
    throw ContentError(.invalid, "\(root.digest)", "indexes lie more than \(maximumDepth) deep in each other")
  }
}
