/// How registries are reached.
package struct RegistryConfiguration: Sendable {
  /// Registries that are spoken to in plain HTTP, beside those on this machine.
  package var insecure: Set<String> = []
  /// How long no byte may come.
  package var stallTimeout: Duration = .seconds(30)
  package var retry = RetryPolicy()

  /// Makes the usual configuration.
  package init() {}
}
