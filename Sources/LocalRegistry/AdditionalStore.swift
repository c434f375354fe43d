import Content
import OCI
import Synchronization
import SystemPackage

/// A read-only store: nothing is ever written or locked in it.
///
/// It is a podman or CRI-O artifact store (`<path>/artifacts`), an oci-dir or an oci-archive of any number of named
/// artifacts, or a local registry of weightfs' or ommx' kind.
final class AdditionalStore: Sendable {
  let path: FilePath
  private let executor: BlockingExecutor
  private let cache = Mutex<Cached?>(nil)

  private struct Cached: Sendable {
    let identity: FileIdentity
    let layout: any LocalRepository
    let entries: [Reference: Descriptor]
  }

  init(path: FilePath, executor: BlockingExecutor) {
    self.path = path
    self.executor = executor
  }

  func artifact(_ reference: Reference) throws(ContentError) -> LocalArtifact? {
    try requirePath()
    if let layoutPath {
      let named = try entries(layoutPath)
      if let entry = named.entries[reference] { return artifact(entry, named.layout) }
      guard case .digest(let digest) = reference.target,
        let entry = named.entries.first(where: {
          $0.key.repository == reference.repository && $0.value.digest == digest
        })
      else { return nil }
      return artifact(entry.value, named.layout)
    }
    let tree = RegistryTree(path: path, executor: executor)
    guard let repository = try tree.repository(reference),
      let entry = try tree.entry(reference, in: repository)
    else {
      return nil
    }
    return artifact(entry, repository)
  }

  func registries() throws(ContentError) -> [String] {
    try requirePath()
    if let layoutPath { return try entries(layoutPath).entries.keys.map(\.repository.registry) }
    return try RegistryTree(path: path, executor: executor).registries()
  }

  func children(registry: String, components: [String]) throws(ContentError) -> LocalChildren {
    try requirePath()
    guard let layoutPath else {
      return try RegistryTree(path: path, executor: executor).children(
        registry: registry,
        components: components
      )
    }
    var found = LocalChildren()
    for reference in try entries(layoutPath).entries.keys where reference.repository.registry == registry {
      let parts = reference.repository.path.split(separator: "/").map(String.init)
      if parts == components {
        found.targets.insert(reference.target)
      } else if parts.count > components.count, parts.starts(with: components) {
        found.components.insert(parts[components.count])
      }
    }
    return found
  }

  private func artifact(_ entry: Descriptor, _ layout: any LocalRepository) -> LocalArtifact {
    LocalArtifact(descriptor: entry, repository: layout, wasFetched: false, isAdditional: true)
  }

  private func requirePath() throws(ContentError) {
    guard Disk.exists(path) else {
      throw ContentError(.notFound, "\(path)", "the additional store does not exist")
    }
  }

  /// Where `index.json` is looked for; nil where the store is a tree.
  private var layoutPath: FilePath? {
    let artifacts = path.appending("artifacts")
    if Disk.exists(artifacts.appending("index.json")) { return artifacts }
    if Disk.exists(path.appending("index.json")) || !Disk.isFolder(path) { return path }
    return nil
  }

  private func entries(_ layoutPath: FilePath) throws(ContentError) -> Cached {
    let isFolder = Disk.isFolder(layoutPath)
    let identity: FileIdentity
    do throws(Errno) {
      identity = try FileIdentity(at: isFolder ? layoutPath.appending("index.json") : layoutPath)
    } catch {
      throw ContentError(.disk, "\(layoutPath)", error)
    }
    if let cached = cache.withLock({ $0 }), cached.identity == identity { return cached }
    let layout: any LocalRepository =
      if isFolder {
        OCIDirectory(path: layoutPath, executor: executor)
      } else {
        try OCIArchive(path: layoutPath, executor: executor)
      }
    var entries: [Reference: Descriptor] = [:]
    for entry in try layout.index().manifests {
      guard let name = entry.annotations[OCIDirectory.nameAnnotation], name.contains("/"),
        let reference = try? Reference(parsing: name), entries[reference] == nil
      else { continue }
      entries[reference] = entry
    }
    let cached = Cached(identity: identity, layout: layout, entries: entries)
    cache.withLock { $0 = cached }
    return cached
  }
}
