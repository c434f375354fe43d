package import Content
package import OCI
import Locking
package import SystemPackage
package import Disk

/// A read-only store at a path, whose kind is recognized by its content: an artifact store of podman or CRI-O
/// (`<path>/artifacts`), an oci-dir or oci-archive of named artifacts, a store of ommx 3, a models directory
/// of Ollama, a cache of the Hugging Face hub, or a local registry of weightfs or ommx 2.
package final class AdditionalStore: Sendable {
  package let path: FilePath
  private let executor: BlockingExecutor
  private let state = Mutex<(kind: Kind, store: any ReadOnlyStore)?>(nil)

  private enum Kind: Equatable {
    case layout(FilePath)
    case ommx, ollama, huggingFace, tree
  }

  package init(path: FilePath, executor: BlockingExecutor) {
    self.path = path
    self.executor = executor
  }

  package func artifact(_ reference: Reference) throws(ContentError) -> LocalArtifact? {
    guard let (descriptor, layout) = try store().find(reference) else { return nil }
    return LocalArtifact(descriptor: descriptor, repository: layout, wasFetched: false, isAdditional: true)
  }

  package func registries() throws(ContentError) -> [String] { try store().registries() }

  package func children(registry: String, components: [String]) throws(ContentError) -> LocalChildren {
    try store().children(registry: registry, components: components)
  }

  package func child(
    _ name: String,
    registry: String,
    components: [String]
  ) throws(ContentError) -> LocalChild {
    try store().child(name, registry: registry, components: components)
  }

  package func hasTags(registry: String, components: [String]) throws(ContentError) -> Bool {
    try store().hasTags(registry: registry, components: components)
  }

  package func blob(_ digest: Digest) throws(ContentError) -> BlobFile? { try store().blob(digest) }

  /// Parts that could not be read at the last access, one line each.
  package var problems: [String] { state.withLock { $0?.store.problems ?? [] } }

  /// Returns the store in its current kind: the path may have been created, or its kind may have changed.
  private func store() throws(ContentError) -> any ReadOnlyStore {
    let kind = try kind()
    return state.withLock { state in
      if let state, state.kind == kind { return state.store }
      let made: any ReadOnlyStore =
        switch kind {
        case .layout(let path): LayoutStore(path: path, executor: executor)
        case .ommx: OMMXStore(path: path, executor: executor)
        case .ollama: OllamaStore(path: path, executor: executor)
        case .huggingFace: HuggingFaceCache(path: path, executor: executor)
        case .tree: RegistryTree(path: path, executor: executor, tagged: TaggedFolders())
        }
      state = (kind, made)
      return made
    }
  }

  private func kind() throws(ContentError) -> Kind {
    let identity: FileIdentity
    do throws(Errno) {
      identity = try FileIdentity(at: path)
    } catch .noSuchFileOrDirectory {
      throw ContentError(.notFound, "\(path)", "the additional store does not exist")
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
    if identity.isRegular { return .layout(path) }
    let artifacts = path.appending("artifacts")
    if Disk.exists(artifacts.appending("index.json")) { return .layout(artifacts) }
    if Disk.exists(path.appending("index.json")) { return .layout(path) }
    if Disk.exists(path.appending("index.sqlite3")) { return .ommx }
    if Disk.isFolder(path.appending("manifests")), Disk.isFolder(path.appending("blobs")) { return .ollama }
    // A directory that may be entered but not listed causes an error, rather than counting as empty.
    let names = try Disk.namesInLayout(path)
    return names.contains { $0.hasPrefix(HuggingFaceCache.prefix) } ? .huggingFace : .tree
  }
}
