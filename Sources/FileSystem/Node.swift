import Artifacts
import Layouts
import Disk
import ArtifactTree
import Content
import Fetching
import LocalRegistry
import OCI
import Locking

/// An object that the kernel refers to by number.
final class Node: Sendable {
  /// The type of a node.
  enum Kind: Sendable {
    case root
    case registry(String)
    case prefix(Prefix)
    case artifact(ArtifactSlot)
    case directory(ArtifactDirectory)
    case link(ArtifactLink)
    case file(FileNode)

    /// The artifact of a directory, and the directory in it (nil for the root); nil for all other kinds.
    var inArtifact: (slot: ArtifactSlot, directory: ArtifactDirectory?)? {
      switch self {
      case .artifact(let slot): (slot, nil)
      case .directory(let directory): (directory.slot, directory)
      case .root, .registry, .prefix, .link, .file: nil
      }
    }
  }

  let identifier: UInt64
  let inode: UInt64
  /// The parent's number, for `..`.
  let parent: UInt64
  /// Path from the root of the mount; a file with two names has the path of the first.
  let path: String
  let kind: Kind

  init(identifier: UInt64, inode: UInt64, parent: UInt64, path: String, kind: Kind) {
    self.identifier = identifier
    self.inode = inode
    self.parent = parent
    self.path = path
    self.kind = kind
  }
}

/// A directory within an artifact.
///
/// It refers to the slot of its artifact rather than to the tree, as the kernel may remember more directories
/// than trees fit into memory. Its number is looked up by its path, as a tree that is built again may number
/// its nodes differently.
final class ArtifactDirectory: Sendable {
  let slot: ArtifactSlot
  /// Seconds since 1970.
  let modificationTime: Int64
  private let name: EntryName
  /// Nil for the root of the artifact.
  private let parent: ArtifactDirectory?

  init(slot: ArtifactSlot, parent: ArtifactDirectory?, name: EntryName, modificationTime: Int64) {
    self.slot = slot
    self.parent = parent
    self.name = name
    self.modificationTime = modificationTime
  }

  /// Returns the directory's number in a tree of its artifact, or nil if the tree has no such directory.
  func number(in tree: FileTree) -> Int? {
    var names: [EntryName] = []
    var current: ArtifactDirectory? = self
    while let directory = current {
      names.append(directory.name)
      current = directory.parent
    }
    return tree.node(at: names.reversed())
  }
}

/// A symbolic link within an artifact.
struct ArtifactLink: Sendable {
  let slot: ArtifactSlot
  let target: [UInt8]
  /// Seconds since 1970.
  let modificationTime: Int64
}

/// The directory of an artifact, bound to a manifest at the first look-up in it.
final class ArtifactSlot: Sendable {
  let reference: Reference?
  private let state: Mutex<State>

  private struct State {
    // The loader keeps the most recently used artifacts; others are loaded again when they are needed. The
    // kernel may
    // remember more directories than trees fit into memory.
    weak var artifact: LoadedArtifact?
    var resolution: ReferenceResolver.Resolution?
    /// An artifact that cannot be loaded again, and is therefore kept.
    var kept: LoadedArtifact?
    var created: Int64?
  }

  init(
    reference: Reference?,
    resolution: ReferenceResolver.Resolution? = nil,
    artifact: LoadedArtifact? = nil
  ) {
    self.reference = reference
    state = Mutex(
      State(artifact: artifact, resolution: resolution, kept: artifact, created: artifact?.created)
    )
  }

  /// The resolution at the look-up of the directory or at its first use; nil before both.
  var resolution: ReferenceResolver.Resolution? { state.withLock { $0.resolution } }

  var bound: LoadedArtifact? { state.withLock { $0.artifact } }

  /// Creation time of the artifact in seconds since 1970; nil until its manifest is read.
  var created: Int64? { state.withLock { $0.created } }

  /// Releases a tree that was built from wrong bytes.
  func unbind() { if reference != nil { state.withLock { ($0.artifact, $0.kept) = (nil, nil) } } }

  /// Binds the directory to an artifact, unless it is bound: open directories keep their tree.
  ///
  /// - Parameters:
  ///   - loaded: The artifact.
  ///   - resolution: The resolution that the artifact was loaded from. A tree that was released is loaded
  ///     from it again.
  func bind(_ loaded: LoadedArtifact, _ resolution: ReferenceResolver.Resolution) -> LoadedArtifact {
    state.withLock { state in
      if let artifact = state.artifact { return artifact }
      state.resolution = resolution
      state.artifact = loaded
      if loaded.layout == nil, !loaded.isRecorded { state.kept = loaded }
      state.created = loaded.created
      return loaded
    }
  }
}

/// A file identified by its content: shared by all names, tags and registries that have the same bytes with
/// the same attributes.
final class FileNode: Sendable {
  struct Key: Hashable, Sendable {
    let digest: Digest
    /// Size of the blob according to the manifest: files with a wrong size must not share a node with the
    /// right ones.
    let blobSize: Int64
    let offset: Int64
    let size: Int64
    let mode: UInt32
    let modificationTime: Int64
    /// The format that the name promises; names that promise different formats share no node.
    let promise: ModelMagic?
  }

  private struct State {
    var homes: [Home] = []
    var isBad = false
    var wasComplete = false
    var modes = OpenModes()
    weak var blob: LazyBlob?
    /// The materialized copy.
    var copy: BlobFile?
    /// The error if the first bytes do not match the promised format.
    var brokenPromise: ContentError?
    /// Whether the first bytes match the promised format.
    var isPromiseKept = false
    /// How often unverified first bytes did not match and were fetched again.
    var doubts = 0
    /// When creating a copy may be tried again.
    var nextCopy: ContinuousClock.Instant?
  }

  /// A place that has the bytes.
  struct Home: Sendable {
    let layout: (any LocalRepository)?
    let source: (any Repository)?
    /// The reference that leads to the layout after it was rewritten in another format.
    let reference: Reference?
  }

  let key: Key
  let content: FileContent
  private let state: Mutex<State>

  init(key: Key, content: FileContent) {
    self.key = key
    self.content = content
    state = Mutex(State())
  }

  /// Adds the place of another artifact that has the same file.
  func add(_ artifact: LoadedArtifact) {
    let source = artifact.source(of: content.blob)
    state.withLock { state in
      let isKnown = state.homes.contains {
        $0.layout?.origin == artifact.layout?.origin && $0.source?.origin == source?.origin
      }
      if !isKnown, state.homes.count < 16 {
        state.homes.append(
          Home(layout: artifact.layout, source: source, reference: artifact.reference)
        )
      }
    }
  }

  var homes: [Home] { state.withLock { $0.homes } }

  /// Whether the blob's bytes turned out wrong: an open then makes the kernel look the name up again.
  var isBad: Bool {
    get { state.withLock { $0.isBad } }
    set { state.withLock { $0.isBad = newValue } }
  }

  /// The blob of the last open, while it is open.
  var openBlob: LazyBlob? { state.withLock { $0.blob } }
  func noteOpen(_ blob: LazyBlob) { state.withLock { $0.blob = blob } }

  /// The materialized copy, if it exists.
  var copy: BlobFile? {
    get { state.withLock { $0.copy } }
    set { state.withLock { $0.copy = newValue } }
  }

  /// The error if the first bytes are known not to match the promised format.
  var brokenPromise: ContentError? {
    get { state.withLock { $0.brokenPromise } }
    set { state.withLock { $0.brokenPromise = newValue } }
  }

  /// Whether the first bytes were checked and match the promised format.
  var isPromiseKept: Bool {
    get { key.promise == nil || state.withLock { $0.isPromiseKept } }
    set { state.withLock { $0.isPromiseKept = newValue } }
  }

  /// Records first bytes that do not match the promised format.
  ///
  /// - Parameters:
  ///   - error: The mismatch.
  ///   - isVerified: Whether the bytes match the blob's digest, so that fetching them again would not change
  ///     them.
  /// - Returns: Whether the bytes should be fetched again.
  func doubt(_ error: ContentError, isVerified: Bool) -> Bool {
    state.withLock { state in
      state.doubts += 1
      guard isVerified || state.doubts > Self.mostDoubts else { return true }
      state.brokenPromise = error
      return false
    }
  }

  // One or two wrong answers may come from a cache on the way; after the third the artifact is considered
  // wrong.
  private static let mostDoubts = 2

  /// Whether creating a copy is to be tried now; if so, the next attempt is due at `next`.
  func takeCopyTurn(_ now: ContinuousClock.Instant, next: ContinuousClock.Instant) -> Bool {
    state.withLock { state in
      if let known = state.nextCopy, known > now { return false }
      state.nextCopy = next
      return true
    }
  }

  func withModes<Value: Sendable>(_ body: (inout OpenModes) -> Value) -> Value {
    state.withLock { body(&$0.modes) }
  }

  /// Whether the blob was complete at an earlier open.
  var wasComplete: Bool {
    get { state.withLock { $0.wasComplete } }
    set { state.withLock { $0.wasComplete = newValue } }
  }
}
