package import Layouts
package import Content
package import OCI
package import SystemPackage
import Disk

/// A tree of artifacts by path, `<host>/<name>/__<reference>`: the root of the local registry, or a store of
/// that kind.
package struct RegistryTree: ReadOnlyStore {
  let path: FilePath
  let executor: BlockingExecutor
  let tagged: TaggedFolders

  /// Creates a tree.
  ///
  /// - Parameters:
  ///   - path: The path of its root.
  ///   - executor: Runs blocking disk operations.
  ///   - tagged: Remembers which directories have tags.
  package init(path: FilePath, executor: BlockingExecutor, tagged: TaggedFolders) {
    self.path = path
    self.executor = executor
    self.tagged = tagged
  }

  /// Returns the layout of a reference; an archive takes precedence over a directory.
  package func repository(_ reference: Reference) throws(ContentError) -> (any LocalRepository)? {
    for spelling in ReferencePath.spellings(of: reference) {
      let place = path.appending(spelling)
      for suffix in ReferencePath.archiveSuffixes {
        let file = FilePath(place.string + suffix)
        if Disk.isFile(file) { return try OCIArchive(path: file, executor: executor) }
      }
      if OCIDirectory.exists(at: place) { return OCIDirectory(path: place, executor: executor) }
    }
    return nil
  }

  /// Returns the entry of a layout for a reference: by name, else the only entry.
  package func entry(_ reference: Reference, in index: Index) -> Descriptor? {
    if let found = OCIDirectory.entry(reference.target, in: index) { return found }
    // A digest must match exactly.
    guard case .tag = reference.target else { return nil }
    let entries = index.manifests.filter(\.isManifestOrIndex)
    return entries.count == 1 ? entries.first : nil
  }

  package func registries() throws(ContentError) -> [String] {
    let names = try names("")
    return names.filter { !$0.hasPrefix(".") && Disk.isFolder(path.appending($0)) }
      .map { RepositoryName.normalisedRegistry(ReferencePath.registry(of: $0)) }
      .filter { Grammar.isRegistry($0) }
  }

  package func child(
    _ name: String,
    registry: String,
    components: [String]
  ) throws(ContentError) -> LocalChild {
    var child = LocalChild()
    for place in places(registry, components) {
      let folder = path.appending(place)
      let leaf = folder.appending("__" + name)
      if Grammar.isTag(name), Disk.isFolder(leaf) || hasArchive(leaf) { child.isTag = true }
      if Grammar.isRepositoryComponent(name), !name.hasPrefix("__"), Disk.isFolder(folder.appending(name)) {
        child.isComponent = true
        child.isRepository = tagged.hasTags(folder.appending(name))
      }
    }
    return child
  }

  package func hasTags(registry: String, components: [String]) throws(ContentError) -> Bool {
    places(registry, components).contains { tagged.hasTags(path.appending($0)) }
  }

  private func hasArchive(_ leaf: FilePath) -> Bool {
    ReferencePath.archiveSuffixes.contains { Disk.isFile(FilePath(leaf.string + $0)) }
  }

  /// Returns the directories of a prefix.
  private func places(_ registry: String, _ components: [String]) -> [String] {
    var components = components
    // Docker Hub's official repositories have `library/` on disk, which may be omitted in the name.
    if registry == "docker.io", components.count == 1, components != ["library"],
      !Disk.isFolder(path.appending("docker.io").appending(components[0]))
    {
      components = ["library"] + components
    }
    let hosts = registry == "docker.io" ? ["docker.io", "registry-1.docker.io"] : [registry]
    return hosts.map { ([ReferencePath.escape($0)] + components).joined(separator: "/") }
  }

  package func children(registry: String, components: [String]) throws(ContentError) -> LocalChildren {
    var found = LocalChildren()
    for place in places(registry, components) {
      for name in try names(place) {
        if name.hasPrefix("__") {
          var leaf = name[...]
          for suffix in ReferencePath.archiveSuffixes
          where leaf.hasSuffix(suffix) && Disk.isFile(path.appending(place).appending(name)) {
            leaf = leaf.dropLast(suffix.count)
            break
          }
          if let target = ReferencePath.target(ofLeaf: String(leaf)) { found.targets.insert(target) }
        } else if Grammar.isRepositoryComponent(name), Disk.isFolder(path.appending(place).appending(name)) {
          found.components.insert(name)
        }
      }
    }
    return found
  }

  private func names(_ relative: String) throws(ContentError) -> [String] {
    try Disk.namesInLayout(relative.isEmpty ? path : path.appending(relative))
  }

  func find(
    _ reference: Reference
  ) throws(ContentError) -> (descriptor: Descriptor, layout: any LocalRepository)? {
    guard let repository = try repository(reference), let entry = try entry(reference, in: repository.index())
    else {
      return nil
    }
    return (entry, repository)
  }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    try BlobFile.inLayout(path.appending(".weightfs").appending(digest.layoutPath))
  }
}
