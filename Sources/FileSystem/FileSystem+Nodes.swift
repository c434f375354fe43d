import Artifacts
import ArtifactTree
import Content
import Fetching
import LocalRegistry
import OCI
import Locking
import SystemPackage

/// Nodes of looked-up names.
extension FileSystem {
  func absent(_ timeout: Duration) -> Entry {
    let none = FileAttributes(
      kind: .file,
      inode: 0,
      size: 0,
      mode: 0,
      linkCount: 0,
      modificationTime: 0,
      userIdentifier: 0,
      groupIdentifier: 0
    )
    return Entry(node: 0, attributes: none, entryTimeout: timeout, attributeTimeout: .zero)
  }

  func entry(_ node: Node, _ entryTimeout: Duration) -> Entry {
    // The time of an artifact is unknown until its manifest is read.
    var isKnown = true
    if case .artifact(let slot) = node.kind, slot.created == nil { isKnown = false }
    return Entry(
      node: node.identifier,
      attributes: attributes(of: node),
      entryTimeout: entryTimeout,
      attributeTimeout: isKnown ? Self.longTimeout : .zero
    )
  }

  func path(_ name: EntryName, in parent: Node) -> String {
    parent.path.isEmpty ? "\(name)" : "\(parent.path)/\(name)"
  }

  func inode(_ name: EntryName, in parent: Node) -> UInt64 {
    StableHash.inode(StableHash.of(name.bytes, seed: StableHash.of([0x2f], seed: parent.inode)))
  }

  /// Returns the entry of a registry, repository or namespace directory.
  func enter(_ name: EntryName, in parent: Node, _ kind: Node.Kind, timeout: Duration? = nil) -> Entry {
    let path = path(name, in: parent)
    let inode = inode(name, in: parent)
    let node = state.withLock { state in
      let key = NodeTable.Key.name(parent: parent.identifier, name: name)
      // A namespace that became a repository, or the reverse, gets another node.
      if let known = state.nodes.node(key), !Self.isSame(known.kind, kind) { state.nodes.retire(known) }
      return state.nodes.lookUp(key) { identifier in
        Node(identifier: identifier, inode: inode, parent: parent.identifier, path: path, kind: kind)
      }
    }
    return entry(node, timeout ?? options.resolution.timeToLive)
  }

  /// How long the kernel may cache that a name does not exist.
  ///
  /// Zero when offline, as a look-up in the local registry costs almost nothing.
  var absenceTimeout: Duration {
    options.resolution.isOffline ? .zero : options.resolution.negativeTimeToLive
  }

  private static func isSame(_ left: Node.Kind, _ right: Node.Kind) -> Bool {
    switch (left, right) {
    case (.registry(let left), .registry(let right)): left == right
    case (.prefix(let left), .prefix(let right)): left == right
    default: false
    }
  }

  /// Returns the entry of an artifact's directory: one node for each manifest that a reference has resolved
  /// to.
  func enter(
    _ reference: Reference,
    _ resolution: ReferenceResolver.Resolution?,
    _ name: EntryName,
    in parent: Node
  ) -> Entry {
    let digest = resolution?.descriptor.digest
    let path = path(name, in: parent)
    let inode = inode(name, in: parent)
    let node = state.withLock { state in
      state.nodes.lookUp(.artifact(parent: parent.identifier, name: name, digest: digest)) { identifier in
        let slot = ArtifactSlot(reference: reference, resolution: resolution)
        return Node(
          identifier: identifier,
          inode: inode,
          parent: parent.identifier,
          path: path,
          kind: .artifact(slot)
        )
      }
    }
    if reference.digest != nil { return entry(node, Self.longTimeout) }
    // A reference that was only listed is cached for as long as the list.
    return entry(node, resolution.map { max(.zero, $0.expires - .now) } ?? options.resolution.timeToLive)
  }
}
