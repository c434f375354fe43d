package import Content
package import OCI

/// Gives remote repositories.
///
/// The network is behind it.
package protocol RepositoryProvider: Sendable {
  /// A repository, without asking anybody.
  ///
  /// - Parameter name: its registry and path.
  func repository(_ name: RepositoryName) -> any Repository

  /// The repositories of a registry by its catalog, which is an extension that few public ones allow.
  ///
  /// - Parameters:
  ///   - registry: its host.
  ///   - limit: of repositories.
  /// - Throws: `ContentError`.
  func catalog(of registry: String, limit: Int) async throws(ContentError) -> [String]
}
