package import Artifacts
import ArtifactTree
import Content
package import Fetching
package import LocalRegistry
package import Logging
package import OCI
import Locking
import SystemPackage
package import Telemetry

/// The tree of models: names, nodes, directories, attributes and reads.
///
/// Independent of FUSE and of the network protocol.
///
/// An operation returns its answer if it is available, and otherwise asynchronous work, so that the kernel's
/// threads never block.
package final class FileSystem: Sendable {
  /// The number of the root.
  package static let rootIdentifier = NodeTable.rootIdentifier

  /// The state of an open file.
  struct OpenFile: Sendable {
    let blob: LazyBlob
    let file: FileNode
    /// Path from the root of the mount, for messages.
    let name: String
    /// Whether the kernel reads the file by passthrough.
    let isPassing: Bool

    var content: FileContent { file.content }
  }

  struct State: ~Copyable {
    var nodes: NodeTable
    var files: [UInt64: OpenFile] = [:]
    var folders: [UInt64: [DirectoryEntry]] = [:]
    var nextHandle: UInt64 = 1
    /// Removes wrong pages from the kernel's cache; set by the mount.
    var invalidate: (@Sendable ([UInt64]) -> Void)?
    /// Removes names from the kernel's cache; set by the mount.
    var forgetNames: (@Sendable ([KernelName]) -> Void)?
  }

  /// Whether a file or a directory is open.
  package var hasOpenFiles: Bool { state.withLock { !$0.files.isEmpty || !$0.folders.isEmpty } }

  /// A number that changes with every look-up, open and close.
  package var activity: UInt64 { state.withLock { $0.nodes.lookUpCount &+ $0.nextHandle } }

  let options: FileSystemOptions
  let local: LocalRegistry
  let remote: any RepositoryProvider
  let store: BlobStore
  package let resolver: ReferenceResolver
  package let loader: ArtifactLoader
  let classifier: PathClassifier
  /// Answers users whose look-ups must not cause requests; nil if requests are sent for all users.
  let guests: NameService?
  let passthrough: Passthrough
  /// Copies files out of tars and archives.
  let copying = BlockingExecutor(label: "weightfs.copy", threads: 1)
  let metrics: Metrics
  let log: Logger
  let state: Mutex<State>

  /// The root of the mount.
  package enum Root: Sendable {
    /// The tree of registries, repositories and tags.
    case tree
    /// A single artifact.
    case artifact(LoadedArtifact)
  }

  /// Creates a file system.
  ///
  /// - Parameters:
  ///   - root: The root of the mount.
  ///   - local: The local registry.
  ///   - remote: The registries.
  ///   - store: The blobs.
  ///   - resolver: Resolves references.
  ///   - loader: Loads artifacts.
  ///   - options: The options of the tree.
  ///   - metrics: Counts failures.
  ///   - log: Receives messages for the operator.
  package init(
    root: Root,
    local: LocalRegistry,
    remote: any RepositoryProvider,
    store: BlobStore,
    resolver: ReferenceResolver,
    loader: ArtifactLoader,
    options: FileSystemOptions,
    metrics: Metrics,
    log: Logger
  ) {
    self.options = options
    self.local = local
    self.remote = remote
    self.store = store
    self.resolver = resolver
    self.loader = loader
    self.metrics = metrics
    self.log = log
    passthrough = Passthrough(metrics: metrics, log: log)
    classifier = PathClassifier(local: local, remote: remote, resolver: resolver, options: options)
    guests = options.fetchFor == .all ? nil : Self.guests(local, remote, options, metrics, log)
    let kind: Node.Kind =
      switch root {
      case .tree: .root
      case .artifact(let artifact): .artifact(ArtifactSlot(reference: artifact.reference, artifact: artifact))
      }
    let node = Node(
      identifier: Self.rootIdentifier,
      inode: 1,
      parent: Self.rootIdentifier,
      path: "",
      kind: kind
    )
    state = Mutex(State(nodes: NodeTable(root: node)))
    store.delegate = self
  }

  private static func guests(
    _ local: LocalRegistry,
    _ remote: any RepositoryProvider,
    _ options: FileSystemOptions,
    _ metrics: Metrics,
    _ log: Logger
  ) -> NameService {
    var options = options
    options.resolution.isOffline = true
    // The kernel shares its cache of names between users: an answer for a guest must not hide new names from
    // the owner.
    options.resolution.timeToLive = .zero
    let resolver = ReferenceResolver(
      local: local,
      remote: remote,
      options: options.resolution,
      metrics: metrics,
      log: log
    )
    let classifier = PathClassifier(local: local, remote: remote, resolver: resolver, options: options)
    return NameService(resolver: resolver, classifier: classifier, mayAsk: false)
  }

  /// Sets the closure that removes pages of nodes from the kernel's cache.
  ///
  /// - Parameter body: Receives node numbers; may block, and is never called within a request.
  package func onInvalidation(_ body: @escaping @Sendable ([UInt64]) -> Void) {
    state.withLock { $0.invalidate = body }
  }

  /// Sets the closure that removes names from the kernel's cache.
  ///
  /// - Parameter body: Receives names; may block, and is never called within a request.
  package func onForgetting(_ body: @escaping @Sendable ([KernelName]) -> Void) {
    state.withLock { $0.forgetNames = body }
  }

  /// A name in the kernel's cache.
  package struct KernelName: Sendable {
    package let parent: UInt64
    package let name: [UInt8]
  }

  /// Asks the kernel to forget names of files that are not open, if it remembers too many.
  func trimNames() {
    let (body, nodes) = state.withLock { state -> ((@Sendable ([KernelName]) -> Void)?, [Node]) in
      guard state.nodes.rememberedFiles > options.rememberedFiles, let body = state.forgetNames else {
        return (nil, [])
      }
      let nodes = state.nodes.takeIdleFiles(options.rememberedFiles / 2)
      return (body, nodes)
    }
    guard let body else { return }
    body(
      nodes.map { node in
        let name = node.path.split(separator: "/").last.map { Array($0.utf8) } ?? []
        return KernelName(parent: node.parent, name: name)
      }
    )
  }

  /// Sets the registrar of backing files.
  ///
  /// - Parameter registrar: nil if the kernel does not support passthrough.
  package func usePassthrough(_ registrar: (any BackingRegistrar)?) { passthrough.use(registrar) }

  func node(_ identifier: UInt64) -> Node? { state.withLock { $0.nodes.node(identifier) } }

  /// Returns the path of a node from the root of the mount, for messages.
  ///
  /// - Parameter identifier: The number of a node.
  package func path(of identifier: UInt64) -> String { node(identifier)?.path ?? "?" }

  // MARK: Attributes

  /// Returns the attributes of a node.
  ///
  /// - Parameter identifier: The number of a node.
  package func attributes(of identifier: UInt64) -> Result<FileAttributes, FileSystemError> {
    guard let node = node(identifier) else { return .failure(FileSystemError(.staleNFSFileHandle)) }
    return .success(attributes(of: node))
  }

  func attributes(of node: Node) -> FileAttributes {
    func directory(_ modificationTime: Int64) -> FileAttributes {
      attributes(.directory, node, 0, 0o555 & ~options.umask, modificationTime)
    }
    return switch node.kind {
    case .root, .registry, .prefix: directory(0)
    case .artifact(let slot): directory(slot.created ?? 0)
    case .directory(let entry): directory(entry.modificationTime)
    case .link(let link):
      attributes(.symbolicLink, node, Int64(link.target.count), 0o777, link.modificationTime)
    case .file(let file):
      attributes(
        .file,
        node,
        file.content.size,
        file.key.mode & ~options.umask,
        file.key.modificationTime
      )
    }
  }

  private func attributes(
    _ kind: FileAttributes.Kind,
    _ node: Node,
    _ size: Int64,
    _ mode: UInt32,
    _ modificationTime: Int64
  ) -> FileAttributes {
    FileAttributes(
      kind: kind,
      inode: node.inode,
      size: size,
      mode: mode,
      linkCount: 1,
      modificationTime: modificationTime,
      userIdentifier: options.userIdentifier,
      groupIdentifier: options.groupIdentifier
    )
  }

  /// Returns the target of a symbolic link.
  ///
  /// - Parameter identifier: The number of a node.
  package func linkTarget(of identifier: UInt64) -> Result<[UInt8], FileSystemError> {
    guard let node = node(identifier), case .link(let link) = node.kind else {
      return .failure(FileSystemError(.invalidArgument))
    }
    return .success(link.target)
  }

  /// Subtracts look-ups from a node.
  ///
  /// - Parameters:
  ///   - identifier: The number of a node.
  ///   - count: The number of look-ups that the kernel forgets.
  package func forget(_ identifier: UInt64, _ count: UInt64) {
    state.withLock { $0.nodes.forget(identifier, count) }
  }

  /// Number of nodes that the kernel holds.
  package var nodeCount: Int { state.withLock { $0.nodes.count } }

  func failed<Value>(_ error: ContentError) -> Result<Value, FileSystemError> {
    .failure(FileSystemError(error))
  }
}

extension FileSystem: BlobStoreDelegate {
  package func blobTurnedBad(_ digest: Digest) {
    state.withLock { state in
      for node in state.nodes.files(of: digest) {
        guard case .file(let file) = node.kind else { continue }
        file.isBad = true
        state.nodes.retire(node)
      }
      // Trees whose offsets were read from the blob are loaded again.
      for node in state.nodes.directories(of: digest) {
        if case .artifact(let slot) = node.kind { slot.unbind() }
        state.nodes.retire(node)
      }
    }
    let loader = loader
    Task { await loader.forget(digest) }
  }

  /// Waits until all artifacts that were looked up are recorded in the local registry.
  package func settle() async { await loader.settle() }

  package func blobBecameComplete(_ digest: Digest) { dropServedPages(of: digest) }

  package func pagesAreWrong(_ digest: Digest) {
    let (body, nodes) = state.withLock { state in
      (state.invalidate, state.nodes.files(of: digest).map(\.identifier))
    }
    if let body, !nodes.isEmpty { body(nodes) }
  }
}
