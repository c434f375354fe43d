package import Content
package import OCI

/// Selects an entry of a layout's index.
package enum LayoutEntry: Sendable, Hashable {
  /// The only entry.
  case only
  case named(Reference.Target)
  /// The position, as in skopeo's `oci:DIR:@N`: 0 is the first entry.
  case number(Int)

  /// Finds the entry.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameter layout: The layout.
  /// - Returns: The descriptor of a manifest or an index.
  /// - Throws: `ContentError`; of code `notFound` if the entry does not exist, `unsupported` if there are
  ///   several entries and none is selected.
  package func descriptor(in layout: any LocalRepository) throws(ContentError) -> Descriptor {
    switch self {
    case .named(let target):
      if let found = try layout.entry(target) { return found }
      throw ContentError(
        .notFound,
        "\(target)",
        host: layout.origin,
        "the layout has no such entry",
        advice: try Self.advice(layout)
      )
    case .number(let number):
      let entries = try layout.index().manifests
      if entries.indices.contains(number) { return entries[number] }
      throw ContentError(
        .notFound,
        "@\(number)",
        host: layout.origin,
        "the layout has \(entries.count) entries; the first is @0",
        advice: try Self.advice(layout)
      )
    case .only:
      let entries = try layout.index().manifests.filter(\.isManifestOrIndex)
      if entries.count == 1 { return entries[0] }
      throw ContentError(
        .unsupported,
        layout.origin,
        "the layout has \(entries.count) entries",
        advice: try Self.advice(layout)
      )
    }
  }

  /// Returns a sentence that names the entries of a layout; nil if there are none.
  private static func advice(_ layout: any LocalRepository) throws(ContentError) -> String? {
    let entries = try layout.index().manifests.filter(\.isManifestOrIndex)
    guard !entries.isEmpty else { return nil }
    let names = entries.prefix(8).map { entry in
      ForeignText.excerpt((entry.annotations["org.opencontainers.image.ref.name"] ?? "@\(entry.digest)").utf8)
    }
    return "Name one of them: \(names.joined(separator: ", "))" + (entries.count > 8 ? ", …" : "")
  }
}

extension LayoutEntry: CustomStringConvertible {
  package var description: String {
    switch self {
    case .only: ""
    case .named(let target): ":\(target)"
    case .number(let number): ":@\(number)"
    }
  }
}
