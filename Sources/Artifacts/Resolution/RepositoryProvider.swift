package import Content
package import OCI

/// Provides remote repositories; hides the network from its users.
package protocol RepositoryProvider: Sendable {
  /// Returns a repository, without sending a request.
  ///
  /// - Parameter name: The registry and path.
  func repository(_ name: RepositoryName) -> any Repository

  /// Lists the repositories of a registry with its catalog, an extension that few public registries allow.
  ///
  /// - Parameters:
  ///   - registry: The host.
  ///   - limit: The maximum number of repositories.
  /// - Throws: `ContentError`.
  func catalog(of registry: String, limit: Int) async throws(ContentError) -> [String]
}
