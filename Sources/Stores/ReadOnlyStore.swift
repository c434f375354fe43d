import Disk
import Layouts
import Content
import OCI

/// A kind of read-only store.
///
/// Nothing in a store is written or locked.
protocol ReadOnlyStore: Sendable {
  /// Returns the artifact with a name, and its layout, or nil.
  func find(
    _ reference: Reference
  ) throws(ContentError) -> (descriptor: Descriptor, layout: any LocalRepository)?
  func registries() throws(ContentError) -> [String]
  func children(registry: String, components: [String]) throws(ContentError) -> LocalChildren
  /// Classifies one name below a prefix, without listing the others.
  func child(_ name: String, registry: String, components: [String]) throws(ContentError) -> LocalChild
  /// Whether a prefix is a repository with tags.
  func hasTags(registry: String, components: [String]) throws(ContentError) -> Bool
  /// Opens a blob by its digest, regardless of the artifact it belongs to; the file is used in place.
  func blob(_ digest: Digest) throws(ContentError) -> BlobFile?
  /// Parts that could not be read at the last access, one line each.
  var problems: [String] { get }
}

extension ReadOnlyStore {
  var problems: [String] { [] }

  // Sufficient for stores of at most some hundred names.
  func child(_ name: String, registry: String, components: [String]) throws(ContentError) -> LocalChild {
    var child = LocalChild(name, in: try children(registry: registry, components: components))
    if child.isComponent {
      child.isRepository = try hasTags(registry: registry, components: components + [name])
    }
    return child
  }

  func hasTags(registry: String, components: [String]) throws(ContentError) -> Bool {
    try !children(registry: registry, components: components).targets.isEmpty
  }
}

/// The names of a store that keeps them in one file, by repository and by prefix.
struct NameTable: Sendable {
  private struct Prefix: Hashable {
    let registry: String
    let components: ArraySlice<String>
  }

  private let entries: [Reference: Descriptor]
  private let byDigest: [RepositoryName: [Digest: Descriptor]]
  private let prefixes: [Prefix: LocalChildren]
  let registries: Set<String>

  init(_ entries: [Reference: Descriptor]) {
    var byDigest: [RepositoryName: [Digest: Descriptor]] = [:]
    var prefixes: [Prefix: LocalChildren] = [:]
    for (reference, descriptor) in entries {
      let repository = reference.repository
      byDigest[repository, default: [:]][descriptor.digest] = descriptor
      let parts = repository.path.split(separator: "/").map(String.init)
      for depth in parts.indices {
        let prefix = Prefix(registry: repository.registry, components: parts[..<depth])
        prefixes[prefix, default: LocalChildren()].components.insert(parts[depth])
      }
      prefixes[Prefix(registry: repository.registry, components: parts[...]), default: LocalChildren()]
        .targets.insert(reference.target)
    }
    self.entries = entries
    self.byDigest = byDigest
    self.prefixes = prefixes
    registries = Set(entries.keys.map(\.repository.registry))
  }

  /// Returns the entry for a reference, or for a repository and a digest.
  func find(_ reference: Reference) -> Descriptor? {
    if let entry = entries[reference] { return entry }
    guard case .digest(let digest) = reference.target else { return nil }
    return byDigest[reference.repository]?[digest]
  }

  func children(registry: String, components: [String]) -> LocalChildren {
    prefixes[Prefix(registry: registry, components: components[...])] ?? LocalChildren()
  }
}
