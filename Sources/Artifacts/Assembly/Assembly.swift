package import Layouts
package import Content
package import Fetching
import HTTP
package import LocalRegistry
package import Logging
import OCI
import Registry
package import SystemPackage
package import Telemetry

/// The components of a mount or a command, connected.
package struct Assembly: Sendable {
  package let settings: Settings
  package let metrics: Metrics
  package let local: LocalRegistry
  package let store: BlobStore
  package let remote: any RepositoryProvider
  package let resolver: ReferenceResolver
  package let loader: ArtifactLoader
  package let log: Logger

  /// Creates and connects the components.
  ///
  /// - Parameters:
  ///   - settings: The settings of the user.
  ///   - environment: The environment of the process.
  ///   - log: Receives messages for the operator.
  /// - Throws: `ContentError` if the local registry cannot be used.
  package init(settings: Settings, environment: [String: String], log: Logger) throws(ContentError) {
    self.settings = settings
    self.log = log
    metrics = Metrics()
    local = try LocalRegistry(
      root: settings.root,
      additionalStores: settings.additionalStores,
      metrics: metrics,
      log: log,
      limits: settings.limits,
      sealsWhole: settings.sealsWhole
    )
    let isOffline = settings.resolution.isOffline
    store = BlobStore(
      local: local,
      policy: settings.fetching,
      isOffline: isOffline,
      metrics: metrics,
      log: log
    )
    let client = Self.client(settings, environment, metrics, log)
    remote = RemoteRegistries(client: client)
    resolver = ReferenceResolver(
      local: local,
      remote: remote,
      options: settings.resolution,
      metrics: metrics,
      log: log
    )
    loader = ArtifactLoader(
      local: local,
      remote: remote,
      store: store,
      isOffline: isOffline,
      log: log,
      packaging: settings.packaging
    )
  }

  private static func client(
    _ settings: Settings,
    _ environment: [String: String],
    _ metrics: Metrics,
    _ log: Logger
  ) -> RegistryClient {
    var configuration = RegistryConfiguration()
    configuration.insecure = settings.insecureRegistries
    configuration.stallTimeout = settings.fetching.deadline
    configuration.minimumRate = settings.fetching.minimumRate
    configuration.retry.retryFor = settings.fetching.retryFor
    return RegistryClient(
      thread: TransferThread(metrics: metrics, environment: environment),
      credentials: CredentialFiles(
        explicit: settings.authFile?.string,
        environment: environment,
        log: log
      ),
      configuration: configuration,
      log: log
    )
  }

  /// Resolves and loads an artifact.
  ///
  /// - Parameters:
  ///   - source: A reference, or a layout on this machine.
  ///   - isFresh: Asks the registry even if an answer is cached.
  ///   - isRecorded: Whether to record the artifact in the local registry.
  /// - Throws: `ContentError`.
  package func load(
    _ source: ArtifactSource,
    isFresh: Bool = false,
    isRecorded: Bool = true
  ) async throws(ContentError) -> LoadedArtifact {
    switch source {
    case .reference(let reference):
      let resolution = try await resolver.resolve(reference, isFresh: isFresh)
      return try await loader.load(
        reference,
        resolution,
        recording: isRecorded ? .before : .never,
        replacesFinal: isFresh
      )
    case .layout(let kind, let path, let entry):
      let name = kind == .detected ? "" : "\(kind.rawValue):"
      return try await loader.load(
        try await layout(kind, path),
        entry: entry,
        label: "\(name)\(path)\(entry)"
      )
    }
  }

  /// Opens a layout; a compressed archive is decompressed into the cache first.
  ///
  /// - Parameters:
  ///   - kind: The form of the layout.
  ///   - path: A directory or a file.
  /// - Throws: `ContentError`.
  package func layout(
    _ kind: LayoutKind,
    _ path: FilePath
  ) async throws(ContentError) -> any LocalRepository {
    let executor = local.executor
    let file = try await loader.uncompressed(path)
    return try await executor.run { () throws(ContentError) in try kind.open(file, executor: executor) }
  }
}
