/// A repository in a registry, in normalized form.
package struct RepositoryName: Sendable, Hashable {
  /// `host` or `host:port`; Docker Hub is always `docker.io`.
  package let registry: String
  /// Components separated by slashes; Docker Hub's official repositories start with `library/`.
  package let path: String

  /// Normalizes a name, or returns nil if it is invalid.
  ///
  /// - Parameters:
  ///   - registry: The registry; `index.docker.io` and `registry-1.docker.io` become `docker.io`.
  ///   - path: The path of the repository.
  package init?(registry: String, path: String) {
    guard Grammar.isRegistry(registry), Grammar.isRepository(path) else { return nil }
    let registry = Self.normalisedRegistry(registry)
    let path = registry == "docker.io" && !path.utf8.contains(UInt8(ascii: "/")) ? "library/\(path)" : path
    guard registry.utf8.count + 1 + path.utf8.count <= Grammar.maximumNameLength else { return nil }
    self.registry = registry
    self.path = path
  }

  /// Returns the normalized form of a registry name.
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
