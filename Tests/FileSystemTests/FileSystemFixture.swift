import Artifacts
import BlobCache
import Content
import Fetching
import FileSystem
import LocalRegistry
import Logging
import OCI
import SystemPackage
import Telemetry
import TestSupport

/// Creates file systems over registries in memory, in a temporary directory of the test.
struct FileSystemFixture {
  let folder: TemporaryFolder
  let remote = MemoryRegistries()
  let metrics = Metrics()

  init() throws { folder = try TemporaryFolder() }

  func make(
    _ configure: (inout FileSystemOptions) -> Void = { _ in },
    stores: [String] = [],
    memoryLimit: Int = 32 << 20
  ) throws -> FileSystem {
    var options = FileSystemOptions()
    configure(&options)
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let local = try LocalRegistry(
      root: RegistryRoot(path: FilePath(folder.path("root"))),
      additionalStores: stores.map { FilePath(folder.path($0)) },
      metrics: metrics,
      log: log
    )
    let store = BlobStore(
      local: local,
      policy: FetchPolicy(),
      isOffline: options.resolution.isOffline,
      metrics: metrics,
      log: log
    )
    let resolver = ReferenceResolver(
      local: local,
      remote: remote,
      options: options.resolution,
      metrics: metrics,
      log: log
    )
    let loader = ArtifactLoader(
      local: local,
      remote: remote,
      store: store,
      isOffline: options.resolution.isOffline,
      log: log,
      memoryLimit: memoryLimit
    )
    return FileSystem(
      root: .tree,
      local: local,
      remote: remote,
      store: store,
      resolver: resolver,
      loader: loader,
      options: options,
      metrics: metrics,
      log: log
    )
  }

  /// Walks a path like the kernel.
  func walk(_ fileSystem: FileSystem, _ path: String) async -> Result<Entry, FileSystemError> {
    var node = FileSystem.rootIdentifier
    var last: Entry?
    for name in path.split(separator: "/") {
      switch await fileSystem.lookUp(Array(name.utf8), in: node).value {
      case .failure(let error): return .failure(error)
      case .success(let entry):
        guard entry.node != 0 else { return .failure(FileSystemError(.noSuchFileOrDirectory)) }
        node = entry.node
        last = entry
      }
    }
    return last.map { .success($0) } ?? .failure(FileSystemError(.invalidArgument))
  }

  func errno(_ fileSystem: FileSystem, _ path: String) async -> Errno? {
    if case .failure(let error) = await walk(fileSystem, path) { error.errno } else { nil }
  }

  func list(_ fileSystem: FileSystem, _ path: String) async throws -> [String] {
    let node = path.isEmpty ? FileSystem.rootIdentifier : try await walk(fileSystem, path).get().node
    let handle = try await fileSystem.openDirectory(node).value.get()
    defer { fileSystem.closeDirectory(handle) }
    return fileSystem.entries(handle, from: 2).map { String(decoding: $0.name, as: UTF8.self) }
  }
}
