package import Content
package import OCI
package import Registry

/// The registries of the network, as the file system knows them.
package struct RemoteRegistries: RepositoryProvider {
  private let client: RegistryClient

  /// Gives the repositories of a client.
  ///
  /// - Parameter client: speaks to registries.
  package init(client: RegistryClient) { self.client = client }

  package func repository(_ name: RepositoryName) -> any Repository { client.repository(name) }

  package func catalog(of registry: String, limit: Int) async throws(ContentError) -> [String] {
    try await client.catalog(of: registry, limit: limit)
  }
}
