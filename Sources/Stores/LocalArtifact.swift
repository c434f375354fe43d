package import Layouts
package import OCI

/// An artifact that is on this machine, perhaps with blobs missing.
package struct LocalArtifact: Sendable {
  /// What the reference stands for here: a manifest or an index.
  package let descriptor: Descriptor
  /// Where its blobs are.
  package let repository: any LocalRepository
  /// weightfs fetched it, so the registry may be asked for it again.
  ///
  /// All else is final until `pull`.
  package let wasFetched: Bool
  /// It lies in an additional store.
  package let isAdditional: Bool

  /// Describes an artifact.
  ///
  /// - Parameters:
  ///   - descriptor: of the manifest or index that the reference names.
  ///   - repository: has its blobs.
  ///   - wasFetched: weightfs fetched it.
  ///   - isAdditional: it lies in an additional store.
  package init(
    descriptor: Descriptor,
    repository: any LocalRepository,
    wasFetched: Bool,
    isAdditional: Bool
  ) {
    self.descriptor = descriptor
    self.repository = repository
    self.wasFetched = wasFetched
    self.isAdditional = isAdditional
  }

  /// An oci-dir or an oci-archive has it, not the pool alone.
  package var hasLayout: Bool { repository.format != nil }
}

/// What lies below a prefix of the tree.
package struct LocalChildren: Sendable {
  package var targets: Set<Reference.Target> = []
  /// The tags that weightfs itself fetched.
  package var fetched: Set<String> = []
  /// The next components of repositories.
  package var components: Set<String> = []

  /// No names.
  package init() {}

  package mutating func formUnion(_ other: LocalChildren) {
    targets.formUnion(other.targets)
    fetched.formUnion(other.fetched)
    components.formUnion(other.components)
  }

  /// Whether nothing is there.
  package var isEmpty: Bool { targets.isEmpty && components.isEmpty }
}

/// What one name below a prefix of the tree is.
package struct LocalChild: Sendable, Equatable {
  package var isTag = false
  /// The next component of a repository.
  package var isComponent = false
  /// It has tags itself.
  package var isRepository = false

  package init() {}

  package init(_ name: String, in children: LocalChildren) {
    isTag = children.targets.contains(.tag(name))
    isComponent = children.components.contains(name)
  }

  package mutating func formUnion(_ other: LocalChild) {
    isTag = isTag || other.isTag
    isComponent = isComponent || other.isComponent
    isRepository = isRepository || other.isRepository
  }
}
