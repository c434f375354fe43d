import Layouts
import Content
import Hashing
import OCI
import SystemPackage
import Disk

/// Ollama's models directory: `manifests/<host>/<namespace>/<model>/<tag>`, each file a manifest, and
/// `blobs/sha256-<hex>`.
struct OllamaStore: ReadOnlyStore {
  let path: FilePath
  let executor: BlockingExecutor

  private var manifests: FilePath { path.appending("manifests") }

  func find(
    _ reference: Reference
  ) throws(ContentError) -> (descriptor: Descriptor, layout: any LocalRepository)? {
    let repository = reference.repository
    let folder = manifests.appending(repository.registry).appending(repository.path)
    switch reference.target {
    case .tag(let tag): return try read(folder.appending(tag))
    case .digest(let digest):
      for tag in try Disk.namesInLayout(folder) {
        if let found = try read(folder.appending(tag)), found.descriptor.digest == digest { return found }
      }
      return nil
    }
  }

  private func read(
    _ file: FilePath
  ) throws(ContentError) -> (descriptor: Descriptor, layout: any LocalRepository)? {
    guard Disk.isFile(file),
      let bytes = try Disk.contents(of: file, limit: Int(ManifestDocument.maximumSize))
    else { return nil }
    let digest = HashStream.digest(of: bytes)
    let descriptor = Descriptor(mediaType: .dockerManifest, digest: digest, size: Int64(bytes.count))
    let layout = OllamaModel(path: path, manifest: file, descriptor: descriptor, executor: executor)
    return (descriptor, layout)
  }

  // A name that Ollama permits but a registry does not, such as one in upper case, has no reference.
  func registries() throws(ContentError) -> [String] {
    try Disk.namesInLayout(manifests).filter {
      Grammar.isRegistry($0) && Disk.isFolder(manifests.appending($0))
    }
  }

  func children(registry: String, components: [String]) throws(ContentError) -> LocalChildren {
    var found = LocalChildren()
    var folder = manifests.appending(registry)
    for component in components { folder.append(component) }
    for name in try Disk.namesInLayout(folder) {
      if Disk.isFolder(folder.appending(name)) {
        if Grammar.isRepositoryComponent(name) { found.components.insert(name) }
      } else if components.count == 2, Grammar.isTag(name) {
        found.targets.insert(.tag(name))
      }
    }
    return found
  }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? { try Self.blob(digest, in: path) }

  static func blob(_ digest: Digest, in path: FilePath) throws(ContentError) -> BlobFile? {
    try BlobFile.inLayout(path.appending("blobs").appending("\(digest.algorithm)-\(digest.hex)"))
  }
}

/// One model of Ollama: its manifest is a file, its blobs are shared by all models.
private struct OllamaModel: LocalRepository {
  let path: FilePath
  let manifest: FilePath
  let descriptor: Descriptor
  let executor: BlockingExecutor

  var origin: String { path.string }

  func index() throws(ContentError) -> Index { Index(manifests: [descriptor]) }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    guard digest == descriptor.digest else { return try OllamaStore.blob(digest, in: path) }
    return try BlobFile.inLayout(manifest)
  }
}
