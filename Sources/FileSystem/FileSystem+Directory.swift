import Artifacts
import Stores
import ArtifactTree
import Content
import LocalRegistry
import Logging
import OCI
import Locking
import SystemPackage

/// Directories and their names.
extension FileSystem {
  // A repository with more tags is listed incompletely; each tag can still be looked up.
  private static let listLimit = 100_000

  /// Opens a directory and takes a snapshot of its names, which stays unchanged until the directory is
  /// closed.
  ///
  /// - Parameters:
  ///   - identifier: The node number of a directory.
  ///   - user: The user who asks; nil for weightfs itself.
  /// - Returns: A handle.
  package func openDirectory(_ identifier: UInt64, user: UInt32? = nil) -> Outcome<UInt64> {
    let service = names(for: user)
    guard let node = node(identifier) else { return .now(.failure(FileSystemError(.staleNFSFileHandle))) }
    switch node.kind {
    case .file, .link: return .now(.failure(FileSystemError(.notDirectory)))
    case .directory, .artifact:
      return inArtifact(node, service) { self.open(self.list(node, $0, $1)) }
    case .root:
      return .later {
        let names = await self.local.registries()
        return .success(self.open(self.list(node, names)))
      }
    case .registry(let registry):
      return listLater(
        node,
        Prefix(registry: registry, components: [], isKnownRepository: false),
        service.mayAsk
      )
    case .prefix(let prefix): return listLater(node, prefix, service.mayAsk)
    }
  }

  private func listLater(_ node: Node, _ prefix: Prefix, _ mayAsk: Bool) -> Outcome<UInt64> {
    .later {
      do throws(ContentError) {
        return .success(self.open(self.list(node, try await self.names(prefix, mayAsk))))
      } catch {
        return self.failed(error)
      }
    }
  }

  private func open(_ entries: [DirectoryEntry]) -> UInt64 {
    state.withLock { state in
      defer { state.nextHandle += 1 }
      state.folders[state.nextHandle] = entries
      return state.nextHandle
    }
  }

  private func list(_ node: Node, _ names: [String]) -> [DirectoryEntry] {
    let own = dots(node)
    return own
      + names.compactMap { text in
        guard let name = EntryName(text.utf8) else { return nil }
        return DirectoryEntry(name: name.bytes, kind: .directory, inode: inode(name, in: node))
      }
  }

  private func list(_ node: Node, _ artifact: LoadedArtifact, _ folder: Int) -> [DirectoryEntry] {
    guard case .directory(let children) = artifact.tree.nodes[folder].kind else { return [] }
    return dots(node)
      + children.compactMap { number in
        let child = artifact.tree.nodes[number]
        guard let name = child.name else { return nil }
        switch child.kind {
        case .directory:
          return DirectoryEntry(name: name.bytes, kind: .directory, inode: inode(name, in: node))
        case .symbolicLink:
          return DirectoryEntry(name: name.bytes, kind: .symbolicLink, inode: inode(name, in: node))
        case .file(let content):
          let number = Self.inode(Self.fileKey(child, content, nil))
          return DirectoryEntry(name: name.bytes, kind: .file, inode: number)
        }
      }
  }

  private func dots(_ node: Node) -> [DirectoryEntry] {
    let parent = self.node(node.parent)?.inode ?? 1
    return [
      DirectoryEntry(name: Array(".".utf8), kind: .directory, inode: node.inode),
      DirectoryEntry(name: Array("..".utf8), kind: .directory, inode: parent),
    ]
  }

  /// Returns the names below a registry or a prefix: the local ones, and those that the registry lists if the
  /// options say so.
  private func names(_ prefix: Prefix, _ mayAsk: Bool) async throws(ContentError) -> [String] {
    let known = await local.children(registry: prefix.registry, components: prefix.components)
    var tags = Set(known.targets.map(\.description))
    var components = known.components
    guard options.listing != .local, !options.resolution.isOffline, mayAsk else {
      return tags.union(components).sorted()
    }
    async let listed = remoteTags(prefix)
    async let cataloged = remoteComponents(prefix)
    let (tagResult, componentResult) = await (listed, cataloged)
    var failure: ContentError?
    switch tagResult {
    case .success(let found?):
      // A tag that weightfs fetched and that the registry no longer lists does not exist any more.
      tags = tags.filter { !known.fetched.contains($0) || found.contains($0) }
      tags.formUnion(found)
    case .success(nil): break
    case .failure(let error): failure = error
    }
    switch componentResult {
    case .success(let found): components.formUnion(found)
    case .failure(let error): failure = failure ?? error
    }
    if let failure {
      guard !tags.isEmpty || !components.isEmpty else { throw failure }
      log.warning(
        "cannot list the registry: only local names are shown",
        metadata: ["registry": "\(prefix.registry)", "reason": "\(failure)"]
      )
    }
    return tags.union(components).sorted()
  }

  /// Returns the tags that the registry lists, or nil if it has no such repository.
  private func remoteTags(_ prefix: Prefix) async -> Result<[String]?, ContentError> {
    guard let repository = prefix.repository else { return .success(nil) }
    do throws(ContentError) {
      let tags = try await remote.repository(repository).tags(limit: Self.listLimit)
        .filter { !NameRules.isReferrersTag($0) }
      await classifier.note(tags, of: repository)
      return .success(tags)
    } catch {
      noteUnreadable(error, prefix)
      return Self.isUnknown(error) ? .success(nil) : .failure(error)
    }
  }

  private func remoteComponents(_ prefix: Prefix) async -> Result<[String], ContentError> {
    guard options.listing == .catalog else { return .success([]) }
    do throws(ContentError) {
      let names = try await remote.catalog(of: prefix.registry, limit: Self.listLimit)
      return .success(
        names.compactMap { name in
          let parts = name.split(separator: "/").map(String.init)
          guard parts.count > prefix.components.count, parts.starts(with: prefix.components) else {
            return nil
          }
          return parts[prefix.components.count]
        }
      )
    } catch {
      noteUnreadable(error, prefix)
      return Self.isUnknown(error) ? .success([]) : .failure(error)
    }
  }

  /// Logs a list that cannot be parsed: the directory is shown as empty although it may not be.
  private func noteUnreadable(_ error: ContentError, _ prefix: Prefix) {
    guard error.code == .invalid else { return }
    log.warning(
      "cannot parse the list of the registry",
      metadata: ["registry": "\(prefix.registry)", "reason": "\(error)"]
    )
  }

  /// Whether an error means that the registry does not list; most public registries refuse lists to anonymous
  /// clients.
  private static func isUnknown(_ error: ContentError) -> Bool {
    error.code == .notFound || error.code == .unauthorized || error.code == .invalid
  }

  /// Returns the names of an open directory from a position on.
  ///
  /// - Parameters:
  ///   - handle: From `openDirectory`.
  ///   - offset: The number of names to skip.
  package func entries(_ handle: UInt64, from offset: Int) -> ArraySlice<DirectoryEntry> {
    state.withLock { state in
      guard let entries = state.folders[handle], offset < entries.count else { return [] }
      return entries[max(offset, 0)...]
    }
  }

  /// Closes a directory.
  ///
  /// - Parameter handle: From `openDirectory`.
  package func closeDirectory(_ handle: UInt64) {
    state.withLock { $0.folders[handle] = nil }
  }

  /// Returns the entry of a name for READDIRPLUS: counted as a look-up, although nothing is resolved.
  ///
  /// - Parameters:
  ///   - entry: From `entries`.
  ///   - identifier: The node number of the directory.
  /// - Returns: nil if only the name is returned to the kernel, without attributes.
  package func lookUpListed(_ entry: DirectoryEntry, in identifier: UInt64) -> Entry? {
    guard let node = node(identifier), let name = EntryName(entry.name) else { return nil }
    switch node.kind {
    case .directory, .artifact:
      guard let (slot, directory) = node.kind.inArtifact, let artifact = slot.bound,
        let number = directory.map({ $0.number(in: artifact.tree) }) ?? 0
      else { return nil }
      return artifact.tree.child(name, of: number).map { enter($0, of: artifact, name, in: node) }
    case .root:
      guard let registry = NameRules.registry(name.description) else { return nil }
      return enter(name, in: node, .registry(RepositoryName.normalisedRegistry(registry)))
    case .file, .link, .registry, .prefix: return nil
    }
  }
}
