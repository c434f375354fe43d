package import HTTP
package import Logging
package import OCI

/// Speaks to registries by the distribution specification.
///
/// One client serves all registries of a process: tokens, redirects and what is known of hosts are shared.
package final class RegistryClient: Sendable {
  let thread: TransferThread
  let credentials: CredentialFiles
  let configuration: RegistryConfiguration
  let tokens = TokenStore()
  let hosts = HostMemory()
  let log: Logger

  /// Makes a client.
  ///
  /// - Parameters:
  ///   - thread: runs the requests.
  ///   - credentials: where they are looked for.
  ///   - configuration: how registries are reached.
  ///   - log: for what a user should know.
  package init(
    thread: TransferThread,
    credentials: CredentialFiles,
    configuration: RegistryConfiguration,
    log: Logger
  ) {
    self.thread = thread
    self.credentials = credentials
    self.configuration = configuration
    self.log = log
  }

  /// A repository of a registry.
  ///
  /// - Parameter name: its registry and path.
  /// - Returns: what was asked for.
  package func repository(_ name: RepositoryName) -> RegistryRepository {
    RegistryRepository(client: self, name: name)
  }

  /// The address that a registry's API is below.
  ///
  /// `docker.io` is served by another host.
  func base(of registry: String) -> String {
    let host = registry == "docker.io" ? "registry-1.docker.io" : registry
    let name = host.hasPrefix("[") ? host : host.split(separator: ":").first.map(String.init) ?? host
    let bare = name.hasPrefix("[") ? String(name.dropFirst().prefix { $0 != "]" }) : name
    let isPlain = configuration.insecure.contains(registry) || RequestURL.isLoopback(host: bare.lowercased())
    return "\(isPlain ? "http" : "https")://\(host)/v2/"
  }
}
