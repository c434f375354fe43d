import Content
import OCI

/// What a kind of store tells of what it holds.
///
/// Nothing is written or locked in one.
protocol ReadOnlyStore: Sendable {
  /// What a name stands for, and where its blobs are; nil where it has no such name.
  func find(
    _ reference: Reference
  ) throws(ContentError) -> (descriptor: Descriptor, layout: any LocalRepository)?
  func registries() throws(ContentError) -> [String]
  func children(registry: String, components: [String]) throws(ContentError) -> LocalChildren
  /// A blob by its digest, whatever artifact it belongs to; used where it lies.
  func blob(_ digest: Digest) throws(ContentError) -> BlobFile?
}

extension ReadOnlyStore {
  /// The names below a prefix, of a store that knows all of its names.
  static func children(
    of references: some Sequence<Reference>,
    registry: String,
    components: [String]
  ) -> LocalChildren {
    var found = LocalChildren()
    for reference in references where reference.repository.registry == registry {
      let parts = reference.repository.path.split(separator: "/").map(String.init)
      if parts == components {
        found.targets.insert(reference.target)
      } else if parts.count > components.count, parts.starts(with: components) {
        found.components.insert(parts[components.count])
      }
    }
    return found
  }
}

/// A name table that is read again when the file it came from is another.
struct NameTable: Sendable {
  let entries: [Reference: Descriptor]

  /// The entry of a name, or of a repository and a digest.
  func find(_ reference: Reference) -> Descriptor? {
    if let entry = entries[reference] { return entry }
    guard case .digest(let digest) = reference.target else { return nil }
    return entries.first { $0.key.repository == reference.repository && $0.value.digest == digest }?.value
  }
}
