import Artifacts
import Layouts
import Disk
import ArtifactTree
import Content
import Fetching
import LocalRegistry
import OCI
import Locking

/// What the kernel holds by number.
final class Node: Sendable {
  /// What it is.
  enum Kind: Sendable {
    case root
    case registry(String)
    case prefix(Prefix)
    case artifact(ArtifactSlot)
    case directory(ArtifactDirectory)
    case link(ArtifactLink)
    case file(FileNode)

    /// The artifact that a directory belongs to, and the directory in it, nil for its root; nil for all other kinds.
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
  /// For `..`.
  let parent: UInt64
  /// From the root of the mount; two names of one file have the first one's.
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
/// It holds the slot of its artifact in place of the tree: the kernel may remember more directories than their trees
/// would fit into memory. Its number is found by its names, as a tree that is built again may number its nodes
/// differently.
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

  /// The directory's number in a tree of its artifact; nil where that tree has no such directory.
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
    // The loader holds what was used last; what it lets go of is read again when it is asked for. The kernel may
    // remember more folders than their trees would fit into memory.
    weak var artifact: LoadedArtifact?
    var resolution: ReferenceResolver.Resolution?
    /// What could not be read again.
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

  /// The manifest that the reference named at the look-up of the directory or at its first use; nil before both.
  var resolution: ReferenceResolver.Resolution? { state.withLock { $0.resolution } }

  var bound: LoadedArtifact? { state.withLock { $0.artifact } }

  /// When the artifact was made, seconds since 1970; nil until its manifest was read.
  var created: Int64? { state.withLock { $0.created } }

  /// Lets go of a tree that was made from wrong bytes.
  func unbind() { if reference != nil { state.withLock { ($0.artifact, $0.kept) = (nil, nil) } } }

  /// Binds the directory, unless it is bound: open directories keep their tree.
  ///
  /// - Parameters:
  ///   - loaded: the artifact.
  ///   - resolution: the manifest that it was loaded from. A tree that was dropped is loaded from the same one again.
  func bind(_ loaded: LoadedArtifact, _ resolution: ReferenceResolver.Resolution) -> LoadedArtifact {
    state.withLock { state in
      if let artifact = state.artifact { return artifact }
      state.resolution = resolution
      state.artifact = loaded
      if loaded.layout == nil { state.kept = loaded }
      state.created = loaded.created
      return loaded
    }
  }
}

/// A file by its content: shared by every name, tag and registry that has the same bytes under the same attributes.
final class FileNode: Sendable {
  struct Key: Hashable, Sendable {
    let digest: Digest
    /// What the manifest says of the blob: a size that lies must not be shared.
    let blobSize: Int64
    let offset: Int64
    let size: Int64
    let mode: UInt32
    let modificationTime: Int64
    /// What its name promises of its first bytes; names that promise different things share no node.
    let promise: ModelMagic?
  }

  private struct State {
    var homes: [Home] = []
    var isBad = false
    var wasComplete = false
    var modes = OpenModes()
    weak var blob: LazyBlob?
    /// A copy of it as a file of its own.
    var copy: BlobFile?
    /// Its first bytes are not what its name promises.
    var brokenPromise: ContentError?
    /// They are.
    var isPromiseKept = false
    /// How often unverified first bytes were not, and were fetched again.
    var doubts = 0
    /// When a copy may be tried again.
    var nextCopy: ContinuousClock.Instant?
  }

  /// Where bytes may be had.
  struct Home: Sendable {
    let layout: (any LocalRepository)?
    let source: (any Repository)?
    /// What the layout may be found by once it is another one.
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

  /// Adds a place of another artifact that has the same file.
  func add(_ artifact: LoadedArtifact) {
    state.withLock { state in
      let isKnown = state.homes.contains {
        $0.layout?.origin == artifact.layout?.origin && $0.source?.origin == artifact.source?.origin
      }
      if !isKnown, state.homes.count < 16 {
        state.homes.append(
          Home(layout: artifact.layout, source: artifact.source, reference: artifact.reference)
        )
      }
    }
  }

  var homes: [Home] { state.withLock { $0.homes } }

  /// Set once the blob's bytes turned out wrong: opening it makes the kernel look the name up again.
  var isBad: Bool {
    get { state.withLock { $0.isBad } }
    set { state.withLock { $0.isBad = newValue } }
  }

  /// The blob of the last open, as long as somebody has it open.
  var openBlob: LazyBlob? { state.withLock { $0.blob } }
  func noteOpen(_ blob: LazyBlob) { state.withLock { $0.blob = blob } }

  /// A copy of it as a file of its own, where one was made.
  var copy: BlobFile? {
    get { state.withLock { $0.copy } }
    set { state.withLock { $0.copy = newValue } }
  }

  /// Why it is not what its name promises, where that is known.
  var brokenPromise: ContentError? {
    get { state.withLock { $0.brokenPromise } }
    set { state.withLock { $0.brokenPromise = newValue } }
  }

  /// Whether its first bytes were looked at and are what its name promises.
  var isPromiseKept: Bool {
    get { key.promise == nil || state.withLock { $0.isPromiseKept } }
    set { state.withLock { $0.isPromiseKept = newValue } }
  }

  /// Takes first bytes that are not what the name promises.
  ///
  /// - Parameters:
  ///   - error: why.
  ///   - isVerified: they are those of the blob's digest, so that fetching them again changes nothing.
  /// - Returns: whether they are worth being fetched again.
  func doubt(_ error: ContentError, isVerified: Bool) -> Bool {
    state.withLock { state in
      state.doubts += 1
      guard isVerified || state.doubts > Self.mostDoubts else { return true }
      state.brokenPromise = error
      return false
    }
  }

  // One wrong answer may be a cache's; a third one is the artifact's.
  private static let mostDoubts = 2

  /// Whether a copy is to be tried now; the next time not before `next`.
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

  /// The blob was complete at an earlier open.
  var wasComplete: Bool {
    get { state.withLock { $0.wasComplete } }
    set { state.withLock { $0.wasComplete = newValue } }
  }
}
