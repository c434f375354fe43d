import Disk
import Layouts
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
  /// What one name below a prefix is, without listing the others.
  func child(_ name: String, registry: String, components: [String]) throws(ContentError) -> LocalChild
  /// Whether a prefix is a repository.
  func hasTags(registry: String, components: [String]) throws(ContentError) -> Bool
  /// A blob by its digest, whatever artifact it belongs to; used where it lies.
  func blob(_ digest: Digest) throws(ContentError) -> BlobFile?
  /// Why parts of it cannot be read, as found when it was last read; one line each.
  var problems: [String] { get }
}

extension ReadOnlyStore {
  var problems: [String] { [] }

  // For stores of some hundred names at the most.
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

/// The names of a store that has them in one file, by repository and by prefix.
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

  /// The entry of a name, or of a repository and a digest.
  func find(_ reference: Reference) -> Descriptor? {
    if let entry = entries[reference] { return entry }
    guard case .digest(let digest) = reference.target else { return nil }
    return byDigest[reference.repository]?[digest]
  }

  func children(registry: String, components: [String]) -> LocalChildren {
    prefixes[Prefix(registry: registry, components: components[...])] ?? LocalChildren()
  }
}
