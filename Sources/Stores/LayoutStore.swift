import Layouts
import Content
import OCI
import Locking
import SystemPackage
import Disk

/// An OCI layout of several artifacts, named by `org.opencontainers.image.ref.name`: the artifact store of
/// podman and CRI-O, and any oci-dir or oci-archive with full names.
final class LayoutStore: ReadOnlyStore {
  private let path: FilePath
  private let executor: BlockingExecutor
  private let cache = Mutex<Cached?>(nil)

  private struct Cached: Sendable {
    let identity: FileIdentity
    let layout: any LocalRepository
    let names: NameTable
    let problems: [String]
  }

  var problems: [String] { cache.withLock { $0?.problems ?? [] } }

  init(path: FilePath, executor: BlockingExecutor) {
    self.path = path
    self.executor = executor
  }

  func find(
    _ reference: Reference
  ) throws(ContentError) -> (descriptor: Descriptor, layout: any LocalRepository)? {
    let cached = try read()
    return cached.names.find(reference).map { ($0, cached.layout) }
  }

  func registries() throws(ContentError) -> [String] {
    Array(try read().names.registries)
  }

  func children(registry: String, components: [String]) throws(ContentError) -> LocalChildren {
    try read().names.children(registry: registry, components: components)
  }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? { try read().layout.blob(digest) }

  private func read() throws(ContentError) -> Cached {
    let isFolder = Disk.isFolder(path)
    let identity: FileIdentity
    do throws(Errno) {
      identity = try FileIdentity(at: isFolder ? path.appending("index.json") : path)
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
    if let cached = cache.withLock({ $0 }), cached.identity == identity { return cached }
    let layout: any LocalRepository =
      if isFolder {
        OCIDirectory(path: path, executor: executor)
      } else {
        try OCIArchive(path: path, executor: executor)
      }
    var entries: [Reference: Descriptor] = [:]
    let index = try layout.index()
    for entry in index.manifests where entry.isManifestOrIndex {
      guard let name = entry.annotations[OCIDirectory.nameAnnotation], name.contains("/"),
        let reference = try? Reference(parsing: name), entries[reference] == nil
      else { continue }
      entries[reference] = entry
    }
    let cached = Cached(
      identity: identity,
      layout: layout,
      names: NameTable(entries),
      problems: index.problems
    )
    cache.withLock { $0 = cached }
    return cached
  }
}
