/// The connection settings of registries.
package struct RegistryConfiguration: Sendable {
  /// Registries that are reached by plain HTTP, in addition to those on this machine.
  package var insecure: Set<String> = []
  /// How long one request may stay below the minimum rate.
  package var stallTimeout: Duration = .seconds(30)
  /// The rate in bytes per second below which a transfer counts as stalled.
  package var minimumRate = 1024
  package var retry = RetryPolicy()

  /// Creates the default configuration.
  package init() {}
}
