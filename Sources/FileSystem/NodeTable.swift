import Artifacts
import ArtifactTree
import OCI

/// The nodes by number, with the look-up counts of the kernel.
///
/// A pure value; the file system guards it with a lock.
struct NodeTable {
  /// The key under which look-ups find the same node.
  enum Key: Hashable {
    /// A directory above artifacts, or a directory or link within one: never shared.
    case name(parent: UInt64, name: EntryName)
    /// The directory of an artifact; the digest is nil until the directory is bound to a manifest.
    case artifact(parent: UInt64, name: EntryName, digest: Digest?)
    case file(FileNode.Key)
  }

  private struct Slot {
    let node: Node
    /// The keys under which the node is found, in addition to a file's own key.
    var keys: [Key] = []
    /// Whether a file is found by its own key; false once it is retired.
    var isFindable = true
    /// Whether the kernel was asked to forget the node.
    var isAsked = false
    /// Number of look-ups that the kernel has not forgotten.
    var lookups: UInt64
  }

  static let rootIdentifier: UInt64 = 1

  private var slots: [UInt64: Slot] = [:]
  private var identifiers: [Key: UInt64] = [:]
  // Numbers are never reused, so that no node needs a generation.
  private var next: UInt64 = 2
  /// Number of files among the nodes.
  private var fileCount = 0
  private var askedCount = 0
  /// Number of look-ups since the start.
  private(set) var lookUpCount: UInt64 = 0

  /// Number of files that the kernel remembers and was not asked to forget.
  var rememberedFiles: Int { fileCount - askedCount }

  init(root: Node) {
    slots[Self.rootIdentifier] = Slot(node: root, lookups: 1)
  }

  var count: Int { slots.count }

  func node(_ identifier: UInt64) -> Node? { slots[identifier]?.node }

  func node(_ key: Key) -> Node? { identifiers[key].flatMap { slots[$0]?.node } }

  /// Finds or creates a node, and counts one look-up.
  mutating func lookUp(_ key: Key, _ make: (UInt64) -> Node) -> Node {
    lookUpCount &+= 1
    if let identifier = identifiers[key], var slot = slots[identifier] {
      slot.lookups += 1
      if slot.isAsked {
        slot.isAsked = false
        askedCount -= 1
      }
      slots[identifier] = slot
      return slot.node
    }
    let node = make(next)
    if case .file = key {
      slots[next] = Slot(node: node, lookups: 1)
      fileCount += 1
    } else {
      slots[next] = Slot(node: node, keys: [key], lookups: 1)
    }
    identifiers[key] = next
    next += 1
    return node
  }

  /// Adds a key under which a node is found.
  mutating func alias(_ node: Node, _ key: Key) {
    guard slots[node.identifier] != nil, identifiers[key] == nil else { return }
    slots[node.identifier]?.keys.append(key)
    identifiers[key] = node.identifier
  }

  /// Removes a key of a node.
  mutating func remove(_ key: Key, of node: Node) {
    guard identifiers[key] == node.identifier else { return }
    identifiers[key] = nil
    slots[node.identifier]?.keys.removeAll { $0 == key }
  }

  /// Returns the nodes of directories and links whose tree was built from a blob.
  ///
  /// Includes nodes whose tree is not in memory, as it may have been built from the blob.
  func directories(of digest: Digest) -> [Node] {
    func isMade(from slot: ArtifactSlot) -> Bool {
      guard let artifact = slot.bound else { return true }
      return artifact.manifest.layers.contains { $0.digest == digest }
    }
    return slots.values.compactMap { slot in
      switch slot.node.kind {
      case .directory(let directory): isMade(from: directory.slot) ? slot.node : nil
      case .link(let link): isMade(from: link.slot) ? slot.node : nil
      case .artifact(let artifact): artifact.bound != nil && isMade(from: artifact) ? slot.node : nil
      case .root, .registry, .prefix, .file: nil
      }
    }
  }

  /// Removes a node's keys, so that the next look-up creates another node.
  ///
  /// The old node exists until the kernel forgets it.
  mutating func retire(_ node: Node) {
    guard let slot = slots[node.identifier] else { return }
    removeKeys(of: slot)
    slots[node.identifier]?.keys = []
    slots[node.identifier]?.isFindable = false
  }

  /// Subtracts look-ups; a node with none left is removed.
  mutating func forget(_ identifier: UInt64, _ count: UInt64) {
    guard identifier != Self.rootIdentifier, var slot = slots[identifier] else { return }
    slot.lookups -= min(count, slot.lookups)
    guard slot.lookups == 0 else {
      slots[identifier] = slot
      return
    }
    removeKeys(of: slot)
    if case .file = slot.node.kind { fileCount -= 1 }
    if slot.isAsked { askedCount -= 1 }
    slots[identifier] = nil
  }

  private mutating func removeKeys(of slot: Slot) {
    let identifier = slot.node.identifier
    for key in slot.keys where identifiers[key] == identifier { identifiers[key] = nil }
    guard slot.isFindable, case .file(let file) = slot.node.kind else { return }
    if identifiers[.file(file.key)] == identifier { identifiers[.file(file.key)] = nil }
  }

  /// Returns the oldest nodes of files that are not open, and marks them as asked to be forgotten.
  ///
  /// - Parameter count: The maximum number of nodes.
  /// - Returns: The nodes in order of creation.
  mutating func takeIdleFiles(_ count: Int) -> [Node] {
    let files = slots.values.filter { slot in
      guard !slot.isAsked, case .file(let file) = slot.node.kind else { return false }
      return !file.withModes { $0.isPassing || $0.servedCount > 0 }
    }
    let oldest = Array(files.map(\.node).sorted { $0.identifier < $1.identifier }.prefix(count))
    for node in oldest { slots[node.identifier]?.isAsked = true }
    askedCount += oldest.count
    return oldest
  }

  /// Returns the nodes of files that lie in a blob.
  func files(of digest: Digest) -> [Node] {
    slots.values.compactMap { slot in
      guard case .file(let file) = slot.node.kind, file.content.blob.digest == digest else { return nil }
      return slot.node
    }
  }
}
