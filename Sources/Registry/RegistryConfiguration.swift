/// How registries are reached.
package struct RegistryConfiguration: Sendable {
  /// Registries that are spoken to in plain HTTP, beside those on this machine.
  package var insecure: Set<String> = []
  /// How long fewer bytes than the minimum rate may come in one request.
  package var stallTimeout: Duration = .seconds(30)
  /// Bytes a second below which a transfer counts as standing still.
  package var minimumRate = 1024
  package var retry = RetryPolicy()

  /// Makes the usual configuration.
  package init() {}
}
