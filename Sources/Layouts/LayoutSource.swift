package import Content
package import OCI

/// A layout outside of the root from which artifacts are loaded, recognized by its content.
package struct LayoutSource: Sendable {
  private let path: String
  private let repository: any LocalRepository

  /// Creates a source.
  ///
  /// - Parameters:
  ///   - repository: The layout.
  ///   - path: The name of the layout for the user.
  package init(_ repository: any LocalRepository, _ path: String) {
    self.repository = repository
    self.path = path
  }

  /// An artifact of a layout.
  package struct Entry: Sendable {
    package let descriptor: Descriptor
    /// The full name, if the layout has it.
    package let reference: Reference?
    /// The name of the entry in the layout.
    package let label: String
  }

  /// Returns why entries of the layout are skipped, one line each.
  ///
  /// - Throws: `ContentError`.
  package func problems() throws(ContentError) -> [String] { try repository.index().problems }

  /// Returns the artifacts that the layout lists.
  ///
  /// - Throws: `ContentError`; of code `invalid` if two of them have the same name.
  package func entries() throws(ContentError) -> [Entry] {
    var named: [Reference: Digest] = [:]
    var found: [Entry] = []
    for descriptor in try repository.index().manifests where descriptor.isManifestOrIndex {
      let names = [
        descriptor.annotations["io.containerd.image.name"],
        descriptor.annotations[OCIDirectory.nameAnnotation],
      ]
      let label = names.compactMap { $0 }.last ?? "\(descriptor.digest)"
      // A bare tag names no repository; "a/b:c" names one of Docker Hub.
      let reference = names.compactMap { $0 }.filter { $0.contains("/") || $0.contains(":") }
        .compactMap { try? Reference(parsing: $0) }.first
      if let reference {
        if let other = named[reference] {
          guard other == descriptor.digest else {
            throw ContentError(
              .invalid,
              "\(path)",
              "two of its manifests have the name '\(reference)': \(other) and \(descriptor.digest)",
              advice: "Give each a different name, or create the layout again"
            )
          }
          continue
        }
        named[reference] = descriptor.digest
      }
      found.append(Entry(descriptor: descriptor, reference: reference, label: label))
    }
    return found
  }

  /// Collects the documents and open blobs of an artifact.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameter entry: An entry of this layout.
  /// - Throws: `ContentError`.
  package func contents(of entry: Entry) throws(ContentError) -> ArtifactContents {
    let contents = try ArtifactContents(entry.descriptor.asManifest, in: [repository])
    if let blob = contents.missing.first(where: { $0.verifiedData == nil }) {
      throw ContentError(
        .notFound,
        "\(path)",
        "'\(entry.label)' lacks the blob \(blob.digest)",
        advice: "Create the layout again with 'skopeo copy', which writes complete layouts"
      )
    }
    return contents
  }
}
