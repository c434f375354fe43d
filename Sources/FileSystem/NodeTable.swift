import Artifacts
import ArtifactTree
import OCI

/// Numbers and their nodes, counted as the kernel counts them.
///
/// Pure state; the file system puts a lock around it.
struct NodeTable {
  /// What makes two look-ups one node.
  enum Key: Hashable {
    /// A folder above artifacts, or a folder or link within one: never shared.
    case name(parent: UInt64, name: EntryName)
    /// An artifact's folder. Nil until it is bound to a manifest.
    case artifact(parent: UInt64, name: EntryName, digest: Digest?)
    case file(FileNode.Key)
  }

  private struct Slot {
    let node: Node
    /// By which it is found, beside a file's own key.
    var keys: [Key] = []
    /// A file is found by its own key, until it is retired.
    var isFindable = true
    /// The kernel was asked to forget it.
    var isAsked = false
    /// Look-ups that the kernel has not forgotten.
    var lookups: UInt64
  }

  static let rootIdentifier: UInt64 = 1

  private var slots: [UInt64: Slot] = [:]
  private var identifiers: [Key: UInt64] = [:]
  // Never used twice, so that no node needs a generation.
  private var next: UInt64 = 2
  /// Files among the nodes.
  private var fileCount = 0
  private var askedCount = 0

  /// Files that the kernel remembers and was not asked to forget.
  var rememberedFiles: Int { fileCount - askedCount }

  init(root: Node) {
    slots[Self.rootIdentifier] = Slot(node: root, lookups: 1)
  }

  var count: Int { slots.count }

  func node(_ identifier: UInt64) -> Node? { slots[identifier]?.node }

  func node(_ key: Key) -> Node? { identifiers[key].flatMap { slots[$0]?.node } }

  /// Finds or makes a node and counts one look-up.
  mutating func lookUp(_ key: Key, _ make: (UInt64) -> Node) -> Node {
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

  /// Gives a node another key by which it is found too.
  mutating func alias(_ node: Node, _ key: Key) {
    guard slots[node.identifier] != nil, identifiers[key] == nil else { return }
    slots[node.identifier]?.keys.append(key)
    identifiers[key] = node.identifier
  }

  /// Takes a key of a node away.
  mutating func remove(_ key: Key, of node: Node) {
    guard identifiers[key] == node.identifier else { return }
    identifiers[key] = nil
    slots[node.identifier]?.keys.removeAll { $0 == key }
  }

  /// The nodes of directories and links whose tree was made from a blob.
  ///
  /// A tree that is not in memory may have been made from it too.
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

  /// Makes the next look-up of the same key make another node.
  ///
  /// The old one lives until it is forgotten.
  mutating func retire(_ node: Node) {
    guard let slot = slots[node.identifier] else { return }
    removeKeys(of: slot)
    slots[node.identifier]?.keys = []
    slots[node.identifier]?.isFindable = false
  }

  /// Takes look-ups back; a node without any is gone.
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

  /// The oldest nodes of files that are not open, which the kernel is about to be asked to forget.
  ///
  /// - Parameter count: how many at most.
  /// - Returns: in the order in which they were made.
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

  /// The nodes of files that lie in a blob.
  func files(of digest: Digest) -> [Node] {
    slots.values.compactMap { slot in
      guard case .file(let file) = slot.node.kind, file.content.blob.digest == digest else { return nil }
      return slot.node
    }
  }
}
