/// A repository in a registry, in its normal form.
package struct RepositoryName: Sendable, Hashable {
  /// `host` or `host:port`; Docker Hub is always `docker.io`.
  package let registry: String
  /// Components with slashes between them; Docker Hub's official ones have `library/` before them.
  package let path: String

  /// Normalises and checks a name.
  ///
  /// - Parameters:
  ///   - registry: as a user writes it; `index.docker.io` and `registry-1.docker.io` are `docker.io`.
  ///   - path: the repository's.
  package init?(registry: String, path: String) {
    guard Grammar.isRegistry(registry), Grammar.isRepository(path) else { return nil }
    let registry = Self.normalisedRegistry(registry)
    let path = registry == "docker.io" && !path.utf8.contains(UInt8(ascii: "/")) ? "library/\(path)" : path
    guard registry.utf8.count + 1 + path.utf8.count <= Grammar.maximumNameLength else { return nil }
    self.registry = registry
    self.path = path
  }

  /// The one spelling of a registry that stands for all of them.
  ///
  /// - Parameter registry: as a user writes it.
  package static func normalisedRegistry(_ registry: String) -> String {
    switch registry {
    case "index.docker.io", "registry-1.docker.io": "docker.io"
    default: registry
    }
  }
}

extension RepositoryName: CustomStringConvertible {
  package var description: String { "\(registry)/\(path)" }
}
