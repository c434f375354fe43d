package import Layouts
package import OCI

/// An artifact on this machine; blobs may be missing.
package struct LocalArtifact: Sendable {
  /// The descriptor that the reference resolves to: of a manifest or an index.
  package let descriptor: Descriptor
  /// The repository that has the blobs.
  package let repository: any LocalRepository
  /// Whether weightfs fetched the artifact, so that its tag may be resolved again; else it is final until
  /// `pull`.
  package let wasFetched: Bool
  /// Whether the artifact is in an additional store.
  package let isAdditional: Bool

  /// Creates an artifact.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the manifest or index that the reference resolves to.
  ///   - repository: The repository that has the blobs.
  ///   - wasFetched: Whether weightfs fetched the artifact.
  ///   - isAdditional: Whether the artifact is in an additional store.
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

  /// Whether an oci-dir or an oci-archive has the artifact, rather than only the pool.
  package var hasLayout: Bool { repository.format != nil }
}

/// The names below a prefix of the tree.
package struct LocalChildren: Sendable {
  package var targets: Set<Reference.Target> = []
  /// The tags that weightfs itself fetched.
  package var fetched: Set<String> = []
  /// The next components of repositories.
  package var components: Set<String> = []

  /// Creates an empty set of names.
  package init() {}

  package mutating func formUnion(_ other: LocalChildren) {
    targets.formUnion(other.targets)
    fetched.formUnion(other.fetched)
    components.formUnion(other.components)
  }

  /// Whether there are no names.
  package var isEmpty: Bool { targets.isEmpty && components.isEmpty }
}

/// The classification of one name below a prefix of the tree.
package struct LocalChild: Sendable, Equatable {
  package var isTag = false
  /// Whether the name is a path component of repositories.
  package var isComponent = false
  /// Whether the name is a repository with tags.
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
