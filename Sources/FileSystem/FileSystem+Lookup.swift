import Artifacts
import ArtifactTree
import Content
import Fetching
import LocalRegistry
import OCI
import Locking
import SystemPackage

/// Look-up of names.
extension FileSystem {
  // The kernel caches answers that cannot change for an hour.
  static let longTimeout: Duration = .seconds(3600)

  /// Looks up a name in a directory.
  ///
  /// - Parameters:
  ///   - name: The bytes of the name.
  ///   - parent: The node number of the directory.
  ///   - user: The user who asks; nil for weightfs itself.
  /// - Returns: An entry; its node is 0 if the name does not exist, with the time for which the kernel may
  ///   cache that.
  package func lookUp(_ name: [UInt8], in parent: UInt64, user: UInt32? = nil) -> Outcome<Entry> {
    let names = names(for: user)
    guard let node = node(parent) else { return .now(.failure(FileSystemError(.staleNFSFileHandle))) }
    guard name.count <= EntryName.maximumLength else {
      return .now(.failure(FileSystemError(.fileNameTooLong)))
    }
    guard let name = EntryName(name) else { return .now(.success(absent(Self.longTimeout))) }
    switch node.kind {
    case .file, .link: return .now(.failure(FileSystemError(.notDirectory)))
    case .directory, .artifact:
      return inArtifact(node, names) { self.find(name, in: node, $0, $1) }
    case .root:
      guard let text = Self.text(name), let registry = NameRules.registry(text) else {
        return .now(.success(absent(Self.longTimeout)))
      }
      return .now(.success(enter(name, in: node, .registry(RepositoryName.normalisedRegistry(registry)))))
    case .registry(let registry):
      let prefix = Prefix(registry: registry, components: [], isKnownRepository: false)
      return lookUp(name, in: node, prefix, names)
    case .prefix(let prefix): return lookUp(name, in: node, prefix, names)
    }
  }

  /// Runs a closure in a directory of an artifact: at once if the tree is in memory, else after loading it.
  ///
  /// - Parameters:
  ///   - node: A directory.
  ///   - names: Resolves the reference of an artifact that is not bound yet.
  ///   - body: Receives the artifact and the number of the directory in its tree.
  /// - Returns: The value of `body`; ESTALE if the tree no longer has the directory.
  func inArtifact<Value: Sendable>(
    _ node: Node,
    _ names: NameService,
    _ body: @escaping @Sendable (LoadedArtifact, Int) -> Value
  ) -> Outcome<Value> {
    guard let (slot, directory) = node.kind.inArtifact else {
      return .now(.failure(FileSystemError(.notDirectory)))
    }
    let use: @Sendable (LoadedArtifact) -> Result<Value, FileSystemError> = { artifact in
      guard let number = directory.map({ $0.number(in: artifact.tree) }) ?? 0 else {
        return .failure(FileSystemError(.staleNFSFileHandle))
      }
      return .success(body(artifact, number))
    }
    if let artifact = slot.bound { return .now(use(artifact)) }
    return .later {
      do throws(ContentError) {
        return use(try await self.bind(node, slot, names))
      } catch {
        return self.failed(error)
      }
    }
  }

  private static func text(_ name: EntryName) -> String? { String(validating: name.bytes, as: UTF8.self) }

  private func lookUp(
    _ name: EntryName,
    in node: Node,
    _ prefix: Prefix,
    _ names: NameService
  ) -> Outcome<Entry> {
    let isBelowRegistry = prefix.components.isEmpty
    guard let text = Self.text(name) else { return .now(.success(absent(Self.longTimeout))) }
    let parsed = NameRules.parse(text, isBelowRegistry: isBelowRegistry)
    let decodings = NameRules.decodings(text, isBelowRegistry: isBelowRegistry)
    if parsed == .impossible, decodings.isEmpty { return .now(.success(absent(Self.longTimeout))) }
    return .later {
      do throws(ContentError) {
        let found = try await self.lookUp(parsed, name, in: node, prefix, names)
        if let found, !found.isUnconfirmed { return .success(found.entry) }
        // An existing artifact in its on-disk spelling takes precedence over an unconfirmed namespace.
        for decoding in decodings {
          // A decoding is one of several readings of the name: a refusal of one must not hide the others.
          if let other = try await self.attempt(decoding, name, in: node, prefix, names) {
            if let found { self.forget(found.entry.node, 1) }
            return .success(other.entry)
          }
        }
        if let found { return .success(found.entry) }
        // The name could not be checked, as this user causes no requests.
        guard names.mayAsk else {
          throw NameService.refusal(self.path(name, in: node), owner: self.options.userIdentifier)
        }
        return .success(self.absent(self.absenceTimeout))
      } catch {
        return self.failed(self.explained(error, self.path(name, in: node), names))
      }
    }
  }

  private func attempt(
    _ decoding: NameRules.Name,
    _ name: EntryName,
    in node: Node,
    _ prefix: Prefix,
    _ names: NameService
  ) async throws(ContentError) -> Found? {
    do throws(ContentError) {
      return try await lookUp(decoding, name, in: node, prefix, names)
    } catch {
      if error.code == .unauthorized { return nil }
      throw error
    }
  }

  private func lookUp(
    _ parsed: NameRules.Name,
    _ name: EntryName,
    in node: Node,
    _ prefix: Prefix,
    _ names: NameService
  ) async throws(ContentError) -> Found? {
    switch parsed {
    case .impossible: return nil
    case .reference(let component, let target):
      let path = (prefix.components + [component]).joined(separator: "/")
      guard let repository = RepositoryName(registry: prefix.registry, path: path) else { return nil }
      return try await certain(Reference(repository: repository, target: target), name, in: node, names)
        .map { Found($0) }
    case .digest(let digest):
      guard let repository = prefix.repository else { return nil }
      let reference = Reference(repository: repository, target: .digest(digest))
      return try await certain(reference, name, in: node, names).map { Found($0) }
    case .plain(let text, let mayBeComponent, let mayBeTag):
      let answer = try await names.classifier.classify(
        text,
        in: prefix,
        mayBeComponent: mayBeComponent,
        mayBeTag: mayBeTag
      )
      switch answer {
      case .absent: return nil
      case .repository:
        return Found(enter(name, in: node, .prefix(prefix.appending(text, isKnownRepository: true))))
      case .namespace(let isConfirmed):
        let kind = Node.Kind.prefix(prefix.appending(text, isKnownRepository: false))
        // A repository that is pushed or added under this name must become visible soon.
        let timeout = isConfirmed ? options.resolution.negativeTimeToLive : absenceTimeout
        return Found(enter(name, in: node, kind, timeout: timeout), isUnconfirmed: !isConfirmed)
      case .artifact(let reference, let resolution):
        return Found(enter(reference, resolution, name, in: node))
      }
    }
  }

  /// The result of a look-up.
  private struct Found {
    let entry: Entry
    /// Whether the entry is a namespace that no registry confirmed.
    let isUnconfirmed: Bool

    init(_ entry: Entry, isUnconfirmed: Bool = false) {
      self.entry = entry
      self.isUnconfirmed = isUnconfirmed
    }
  }

  /// Looks up a name that can only be a reference: refusals are returned, not hidden as ENOENT.
  private func certain(
    _ reference: Reference,
    _ name: EntryName,
    in node: Node,
    _ names: NameService
  ) async throws(ContentError) -> Entry? {
    do throws(ContentError) {
      let resolution = try await names.resolver.resolve(reference)
      return enter(reference, resolution, name, in: node)
    } catch {
      if error.code == .notFound { return nil }
      throw error
    }
  }

  /// Resolves and loads an artifact when its directory is first used.
  func bind(
    _ node: Node,
    _ slot: ArtifactSlot,
    _ names: NameService
  ) async throws(ContentError) -> LoadedArtifact {
    if let artifact = slot.bound { return artifact }
    guard let reference = slot.reference else {
      throw ContentError(.stale, node.path, "the artifact was removed")
    }
    let resolution: ReferenceResolver.Resolution
    if let known = slot.resolution {
      resolution = known
    } else {
      do throws(ContentError) {
        resolution = try await names.resolver.resolve(reference)
      } catch {
        throw explained(error, node.path, names)
      }
    }
    if !names.mayAsk, await !loader.isHere(resolution) {
      throw NameService.refusal(node.path, owner: options.userIdentifier)
    }
    let (loaded, used) = try await load(reference, resolution, isRecorded: names.mayAsk)
    let artifact = slot.bind(loaded, used)
    let last = node.path.split(separator: "/").last ?? ""
    if case .artifact = node.kind, let name = EntryName(last.utf8) {
      state.withLock { state in
        state.nodes.alias(node, .artifact(parent: node.parent, name: name, digest: artifact.root.digest))
        // From now on the node belongs to this manifest: the next listing without resolution creates another
        // node.
        state.nodes.remove(.artifact(parent: node.parent, name: name, digest: nil), of: node)
      }
    }
    return artifact
  }

  /// Loads an artifact; if a tag leads to a manifest that cannot be read, resolves the tag at the registry
  /// again.
  private func load(
    _ reference: Reference,
    _ resolution: ReferenceResolver.Resolution,
    isRecorded: Bool
  ) async throws(ContentError) -> (LoadedArtifact, ReferenceResolver.Resolution) {
    do throws(ContentError) {
      return (
        try await loader.load(reference, resolution, recording: isRecorded ? .behind : .never), resolution
      )
    } catch {
      let digest = resolution.descriptor.digest
      guard isRecorded, reference.digest == nil, [.notFound, .corrupt, .invalid].contains(error.code) else {
        throw error
      }
      await resolver.distrust(reference, digest)
      let other = try await resolver.resolve(reference)
      guard other.descriptor.digest != digest else { throw error }
      return (try await loader.load(reference, other, recording: .behind), other)
    }
  }

  /// Returns the entry of a name within an artifact.
  ///
  /// The tree is immutable, so the kernel may cache the answer for long.
  private func find(_ name: EntryName, in parent: Node, _ artifact: LoadedArtifact, _ folder: Int) -> Entry {
    guard let number = artifact.tree.child(name, of: folder) else { return absent(Self.longTimeout) }
    return enter(number, of: artifact, name, in: parent)
  }

  func enter(_ number: Int, of artifact: LoadedArtifact, _ name: EntryName, in parent: Node) -> Entry {
    let path = path(name, in: parent)
    let source = artifact.tree.nodes[number]
    let kind: Node.Kind
    let key: NodeTable.Key
    var inode = inode(name, in: parent)
    switch source.kind {
    case .directory, .symbolicLink:
      guard let made = Self.kind(of: source, name, in: parent) else { return absent(.zero) }
      (kind, key) = (made, .name(parent: parent.identifier, name: name))
    case .file(let content):
      let fileKey = Self.fileKey(source, content, ModelMagic(name: "\(name)"))
      inode = Self.inode(fileKey)
      (kind, key) = (.file(FileNode(key: fileKey, content: content)), .file(fileKey))
    }
    let known = state.withLock { $0.nodes.node(key) }
    let isOutgrown = known.map(isOutgrown) ?? false
    let node = state.withLock { state in
      if isOutgrown, let known { state.nodes.retire(known) }
      return state.nodes.lookUp(key) { identifier in
        Node(identifier: identifier, inode: inode, parent: parent.identifier, path: path, kind: kind)
      }
    }
    guard case .file(let file) = node.kind else { return entry(node, Self.longTimeout) }
    file.add(artifact)
    trimNames()
    // An incomplete file is looked up again at each open, so that the open can use passthrough once it is
    // complete.
    return entry(node, file.wasComplete ? Self.longTimeout : .zero)
  }

  /// Returns the node kind of a directory or a symbolic link.
  private static func kind(of source: FileTree.Node, _ name: EntryName, in parent: Node) -> Node.Kind? {
    guard let (slot, above) = parent.kind.inArtifact else { return nil }
    let time = source.modificationTime
    guard case .symbolicLink(let target) = source.kind else {
      return .directory(ArtifactDirectory(slot: slot, parent: above, name: name, modificationTime: time))
    }
    return .link(ArtifactLink(slot: slot, target: target, modificationTime: time))
  }

  /// Whether a file is open through the daemon since it was partial, and could now be read by passthrough:
  /// then a second node with the same inode number is created, and the open handles stay with the first.
  private func isOutgrown(_ node: Node) -> Bool {
    guard case .file(let file) = node.kind, file.withModes({ $0.servedCount > 0 }), let blob = file.openBlob
    else { return false }
    return backingFile(file, blob) != nil
  }

  static func fileKey(
    _ node: FileTree.Node,
    _ content: FileContent,
    _ promise: ModelMagic?
  ) -> FileNode.Key {
    FileNode.Key(
      digest: content.blob.digest,
      blobSize: content.blob.size,
      offset: content.offset,
      size: content.size,
      mode: node.mode,
      modificationTime: node.modificationTime,
      promise: promise
    )
  }

  static func inode(_ key: FileNode.Key) -> UInt64 {
    let numbers = [UInt64(bitPattern: key.offset), UInt64(bitPattern: key.size), UInt64(key.mode)]
    let seed = numbers.reduce(key.digest.prefix64) { hash, number in
      withUnsafeBytes(of: number.littleEndian) { StableHash.of($0, seed: hash) }
    }
    return StableHash.inode(
      withUnsafeBytes(of: key.modificationTime.littleEndian) { StableHash.of($0, seed: seed) }
    )
  }
}
