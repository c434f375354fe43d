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
    var keys: [Key]
    /// Look-ups that the kernel has not forgotten.
    var lookups: UInt64
  }

  static let rootIdentifier: UInt64 = 1

  private var slots: [UInt64: Slot] = [:]
  private var identifiers: [Key: UInt64] = [:]
  // Never used twice, so that no node needs a generation.
  private var next: UInt64 = 2

  init(root: Node) {
    slots[Self.rootIdentifier] = Slot(node: root, keys: [], lookups: 1)
  }

  var count: Int { slots.count }

  func node(_ identifier: UInt64) -> Node? { slots[identifier]?.node }

  func node(_ key: Key) -> Node? { identifiers[key].flatMap { slots[$0]?.node } }

  /// Finds or makes a node and counts one look-up.
  mutating func lookUp(_ key: Key, _ make: (UInt64) -> Node) -> Node {
    if let identifier = identifiers[key], var slot = slots[identifier] {
      slot.lookups += 1
      slots[identifier] = slot
      return slot.node
    }
    let node = make(next)
    slots[next] = Slot(node: node, keys: [key], lookups: 1)
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

  /// The nodes of folders and links whose tree was made from a blob.
  func folders(of digest: Digest) -> [Node] {
    func isMade(from artifact: LoadedArtifact) -> Bool {
      artifact.manifest.layers.contains { $0.digest == digest }
    }
    return slots.values.compactMap { slot in
      switch slot.node.kind {
      case .folder(let artifact, _), .link(let artifact, _): isMade(from: artifact) ? slot.node : nil
      case .artifact(let artifactSlot): artifactSlot.bound.map(isMade) ?? false ? slot.node : nil
      case .root, .registry, .prefix, .file: nil
      }
    }
  }

  /// Makes the next look-up of the same key make another node.
  ///
  /// The old one lives until it is forgotten.
  mutating func retire(_ node: Node) {
    for key in slots[node.identifier]?.keys ?? [] where identifiers[key] == node.identifier {
      identifiers[key] = nil
    }
    slots[node.identifier]?.keys = []
  }

  /// Takes look-ups back; a node without any is gone.
  mutating func forget(_ identifier: UInt64, _ count: UInt64) {
    guard identifier != Self.rootIdentifier, var slot = slots[identifier] else { return }
    slot.lookups -= min(count, slot.lookups)
    guard slot.lookups == 0 else {
      slots[identifier] = slot
      return
    }
    for key in slot.keys where identifiers[key] == identifier { identifiers[key] = nil }
    slots[identifier] = nil
  }

  /// The nodes of files that lie in a blob.
  func files(of digest: Digest) -> [Node] {
    slots.values.compactMap { slot in
      guard case .file(let file) = slot.node.kind, file.content.blob.digest == digest else { return nil }
      return slot.node
    }
  }
}
