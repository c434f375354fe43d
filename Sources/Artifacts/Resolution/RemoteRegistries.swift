package import Content
package import OCI
package import Registry

/// The remote registries, as a provider for the file system.
package struct RemoteRegistries: RepositoryProvider {
  private let client: RegistryClient

  /// Creates a provider from a client.
  package init(client: RegistryClient) { self.client = client }

  package func repository(_ name: RepositoryName) -> any Repository { client.repository(name) }

  package func catalog(of registry: String, limit: Int) async throws(ContentError) -> [String] {
    try await client.catalog(of: registry, limit: limit)
  }
}
