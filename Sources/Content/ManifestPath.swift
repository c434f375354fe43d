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
  /// - Returns: The documents of the indexes followed by that of the manifest, the parsed manifest, and a
  ///   sentence for the user for each index whose choice may surprise.
  /// - Throws: `ContentError`; of code `invalid` if indexes are nested too deep.
  package static func follow(
    _ root: Descriptor,
    _ platform: Platform = .current,
    _ read: (Descriptor) async throws(ContentError) -> ManifestDocument
  ) async throws(ContentError) -> (documents: [ManifestDocument], manifest: Manifest, notes: [String]) {
    var notes: [String] = []
    var documents: [ManifestDocument] = []
    var current = root
    for _ in 0...maximumDepth {
      let document = try await read(current)
      documents.append(document)
      switch document.content {
      case .manifest(let manifest): return (documents, manifest, notes)
      case .index(let index):
        try checkKits(index, current)
        guard let choice = index.choice(for: platform) else {
          throw ContentError(.notFound, "\(current.digest)", "the index lists no manifest that can be shown")
        }
        if let note = choice.note { notes.append(note) }
        current = choice.manifest.asManifest
      }
    }
    throw ContentError(.invalid, "\(root.digest)", "indexes are nested more than \(maximumDepth) deep")
  }

  // KitOps labels the kits of an index, such as `quantization=q4_0`; a platform selects none of them.
  private static let kitIndex = MediaType(rawValue: "application/vnd.kitops.modelkit.index.v1+json")

  /// Throws if an index has several ModelKits: which one is wanted, only the user knows.
  private static func checkKits(_ index: Index, _ root: Descriptor) throws(ContentError) {
    guard index.artifactType == kitIndex, index.manifests.count > 1 else { return }
    let kits = index.manifests.prefix(8).map { kit in
      let labels = kit.annotations.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
      return "@\(kit.digest) (\(ForeignText.excerpt(labels.joined(separator: " ").utf8)))"
    }
    throw ContentError(
      .notFound,
      "\(root.digest)",
      "the index has \(index.manifests.count) ModelKits: \(kits.joined(separator: ", "))",
      advice: "Select one by its digest"
    )
  }
}
