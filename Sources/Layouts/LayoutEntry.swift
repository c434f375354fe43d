package import Content
package import OCI

/// Which entry of a layout's index a user means.
package enum LayoutEntry: Sendable, Hashable {
  /// The only one.
  case only
  case named(Reference.Target)
  /// By its position, as `oci:DIR:@N` of skopeo: 0 is the first.
  case number(Int)

  /// Finds the entry.
  ///
  /// Blocks.
  ///
  /// - Parameter layout: whose index is read.
  /// - Returns: the descriptor of a manifest or an index.
  /// - Throws: `ContentError`: `notFound` where there is no such entry, `unsupported` where there is not only one.
  package func descriptor(in layout: any LocalRepository) throws(ContentError) -> Descriptor {
    switch self {
    case .named(let target):
      if let found = try layout.entry(target) { return found }
      throw ContentError(.notFound, "\(target)", host: layout.origin, "the layout has no such entry")
    case .number(let number):
      let entries = try layout.index().manifests
      if entries.indices.contains(number) { return entries[number] }
      throw ContentError(
        .notFound,
        "@\(number)",
        host: layout.origin,
        "the layout has \(entries.count) entries; the first is @0"
      )
    case .only:
      let entries = try layout.index().manifests.filter(\.isManifestOrIndex)
      if entries.count == 1 { return entries[0] }
      let names = entries.compactMap { $0.annotations["org.opencontainers.image.ref.name"] }
      throw ContentError(
        .unsupported,
        layout.origin,
        "the layout has \(entries.count) entries",
        advice: entries.isEmpty ? nil : "Name one of them: \(names.prefix(5).joined(separator: ", "))"
      )
    }
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
