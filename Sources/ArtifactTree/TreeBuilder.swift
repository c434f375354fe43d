import OCI

/// Builds a tree layer by layer, with the same result as extraction into an empty root directory.
///
/// Paths are resolved in the tree itself: symbolic links among the directories of a path are followed and
/// never lead above the root; the last component is not followed. Nodes are stored in one array, names in
/// another, and one table finds a child by its directory and name, so that a million nodes need 150 MiB.
struct TreeBuilder {
  struct Attributes {
    var mode: UInt32
    var modificationTime: Int64
  }

  struct Node {
    var modificationTime: Int64
    /// As in `FileTree.Stored`, except for directories; `blob` of a link is 1 if its target was absolute.
    var first: Int64 = 0
    var count: Int64 = 0
    var nameStart: UInt32
    var parent: Int32
    var blob: Int32 = 0
    /// The last layer that added or changed the node.
    var layer: Int32
    /// Number of directories above the node.
    var depth: UInt16 = 0
    /// Only for directories.
    var firstChild: Int32 = -1
    var nextSibling: Int32 = -1
    var mode: UInt16
    var nameCount: UInt8
    var kind: FileTree.StoredKind
    var isRemoved = false
  }

  var nodes: [Node]
  var names: [UInt8] = []
  var blobs: [Descriptor] = []
  private var blobNumbers: [Digest: Int32] = [:]
  /// The original targets of links that lead up from a name, which may itself be a link.
  var winding: [Int: [UInt8]] = [:]
  /// Nodes by a hash of their directory and name, with linear probing.
  private var table: [Int: Int32] = [:]
  /// Directories whose lower layers were already hidden by the current layer: a second marker has no effect.
  private var opaque: Set<Int> = []
  private var opaqueLayer = -1
  private(set) var problems: [String] = []
  var withheld: [WithheldName] = []
  /// Whether a limit was exceeded.
  private(set) var isOverfull = false
  /// Modification time of directories without an entry of their own.
  private let defaultTime: Int64

  // Further problems are not recorded, as reading them does not help a user.
  private static let problemLimit = 100
  // Maximum total size of names and link targets in bytes.
  private static let nameLimit = 128 << 20
  // PATH_MAX allows about 2,000 levels. No packaging comes near 512, which bounds the cost of a link.
  static let maximumDepth = 512

  init(defaultTime: Int64) {
    self.defaultTime = defaultTime
    nodes = [
      Node(
        modificationTime: defaultTime,
        nameStart: 0,
        parent: 0,
        layer: 0,
        mode: 0o555,
        nameCount: 0,
        kind: .directory
      )
    ]
  }

  mutating func note(_ problem: String) {
    if problems.count < Self.problemLimit { problems.append(problem) }
  }

  /// Records a layer that is not shown under its own name.
  mutating func withhold(_ name: WithheldName) {
    note(name.text)
    if withheld.count < Self.problemLimit { withheld.append(name) }
  }

  func exists(_ path: [EntryName]) -> Bool { find(path) != nil }

  /// Returns the digest of the blob that has a file's bytes, or nil if the path is not a file.
  func digest(at path: [EntryName]) -> Digest? {
    guard let node = find(path), nodes[node].kind == .file else { return nil }
    return blobs[Int(nodes[node].blob)].digest
  }

  /// Adds a file at a path, replacing an existing entry.
  ///
  /// Returns false if the path cannot be reached.
  mutating func addFile(
    _ content: FileContent,
    at path: [EntryName],
    _ attributes: Attributes,
    layer: Int
  ) -> Bool {
    guard let node = place(path, .file, attributes, layer) else { return false }
    nodes[node].blob = number(of: content.blob)
    nodes[node].first = content.offset
    nodes[node].count = content.size
    return true
  }

  /// Adds a symbolic link at a path; its target is rewritten so that it stays within the tree.
  mutating func addLink(_ target: [UInt8], at path: [EntryName], _ attributes: Attributes, layer: Int) -> Bool
  {
    guard let node = place(path, .symbolicLink, attributes, layer) else { return false }
    guard setTarget(target, of: node) else {
      nodes[node].isRemoved = true
      return false
    }
    if TreePath.isWinding(target) { winding[node] = target }
    return true
  }

  /// Rewrites a link's target for the directory that really contains the link (its path may contain links).
  mutating func setTarget(_ target: [UInt8], of node: Int) -> Bool {
    guard let text = TreePath.linkTarget(target, in: path(of: Int(nodes[node].parent))) else { return false }
    guard names.count + text.count <= Self.nameLimit else {
      isOverfull = true
      return false
    }
    nodes[node].first = Int64(names.count)
    nodes[node].count = Int64(text.count)
    nodes[node].blob = target.first == UInt8(ascii: "/") ? 1 : 0
    names += text
    return true
  }

  /// Adds a directory at a path; an existing directory keeps its children.
  mutating func addDirectory(at path: [EntryName], _ attributes: Attributes, layer: Int) -> Bool {
    guard let name = path.last else {
      nodes[0].modificationTime = attributes.modificationTime
      return true
    }
    guard let parent = directory(path.dropLast(), layer: layer) else { return false }
    if let known = child(name, of: parent), nodes[known].kind == .directory {
      nodes[known].mode = UInt16(attributes.mode & 0o777)
      nodes[known].modificationTime = attributes.modificationTime
      nodes[known].layer = Int32(layer)
      return true
    }
    return put(name, in: parent, .directory, attributes, layer) != nil
  }

  /// Adds another name for a file or a link.
  ///
  /// Returns nil if the target does not exist yet, false if it is a directory.
  mutating func addHardLink(to target: [EntryName], at path: [EntryName], layer: Int) -> Bool? {
    guard let source = find(target) else { return nil }
    let original = nodes[source]
    guard original.kind != .directory else { return false }
    let attributes = Attributes(
      mode: UInt32(original.mode),
      modificationTime: original.modificationTime
    )
    // A hard link to itself changes nothing.
    if find(path) == source { return true }
    guard let node = place(path, original.kind, attributes, layer) else { return false }
    if original.kind == .symbolicLink, original.parent == nodes[node].parent {
      // In the same directory the target text is the same.
      (nodes[node].first, nodes[node].count, nodes[node].blob) = (
        original.first, original.count, original.blob
      )
      return true
    }
    if original.kind == .symbolicLink {
      var text = Array(names[Int(original.first)..<Int(original.first + original.count)])
      // A relative target is relative to the new directory; an absolute target still leads to the same place.
      if original.blob == 1 {
        let slash = [UInt8(ascii: "/")]
        let folder = self.path(of: Int(original.parent)).flatMap { slash + $0.bytes }
        text = folder + slash + text
      }
      guard setTarget(text, of: node) else {
        nodes[node].isRemoved = true
        return false
      }
      return true
    }
    nodes[node].blob = original.blob
    nodes[node].first = original.first
    nodes[node].count = original.count
    return true
  }

  /// Removes entries of lower layers at a path (image-spec layer.md, "Whiteouts").
  mutating func whiteOut(_ path: [EntryName], layer: Int) {
    guard let node = find(path), node != 0 else { return }
    if nodes[node].kind == .directory, nodes[node].layer >= layer, !isFirst(node, layer) { return }
    hideLower(node, layer)
  }

  /// Whether the current layer has not hidden a directory's lower layers before.
  private mutating func isFirst(_ directory: Int, _ layer: Int) -> Bool {
    if opaqueLayer != layer { (opaque, opaqueLayer) = ([], layer) }
    return opaque.insert(directory).inserted
  }

  /// Removes entries of lower layers below a path.
  mutating func makeOpaque(_ path: [EntryName], layer: Int) {
    guard let node = walk(path[...]), isFirst(node, layer) else { return }
    for child in children(of: node) { hideLower(child, layer) }
  }

  /// Removes a node; of a directory with entries of the current layer, only the entries of lower layers.
  private mutating func hideLower(_ node: Int, _ layer: Int) {
    var open = [node]
    while let node = open.popLast() {
      if nodes[node].layer < layer {
        nodes[node].isRemoved = true
      } else if nodes[node].kind == .directory {
        open += children(of: node)
      }
    }
  }

  func children(of node: Int) -> [Int] {
    var found: [Int] = []
    var child = nodes[node].firstChild
    while child >= 0 {
      if !nodes[Int(child)].isRemoved { found.append(Int(child)) }
      child = nodes[Int(child)].nextSibling
    }
    return found
  }

  // MARK: Paths

  /// Returns the node at a path, following links in its directories but not at its end.
  private func find(_ path: [EntryName]) -> Int? {
    guard let name = path.last else { return 0 }
    return walk(path.dropLast()).flatMap { child(name, of: $0) }
  }

  /// Returns the directory at a path, following links, or nil.
  func walk(_ path: ArraySlice<EntryName>) -> Int? {
    var walk = PathWalk(path)
    while let name = walk.next() {
      guard let next = child(name, of: walk.directory) else { return nil }
      switch nodes[next].kind {
      case .directory: walk.directory = next
      case .file: return nil
      case .symbolicLink: guard follow(next, &walk) else { return nil }
      }
    }
    return walk.isExhausted ? nil : walk.directory
  }

  /// Returns the directory at a path, creating missing directories and replacing files.
  private mutating func directory(_ path: ArraySlice<EntryName>, layer: Int) -> Int? {
    var walk = PathWalk(path)
    while let name = walk.next() {
      let next = child(name, of: walk.directory)
      switch next.map({ (number: $0, kind: nodes[$0].kind) }) {
      case (let number, .directory)?:
        walk.directory = number
        // The directory contains a node of this layer, so a whiteout of a lower layer does not remove it.
        nodes[number].layer = Int32(layer)
      case (let number, .symbolicLink)?: guard follow(number, &walk) else { return nil }
      // A tar layer must not replace the file of a raw layer.
      case (_, .file)? where layer == 0: return nil
      case (_, .file)?, nil:
        let attributes = Attributes(mode: 0o555, modificationTime: defaultTime)
        guard let made = put(name, in: walk.directory, .directory, attributes, layer) else { return nil }
        walk.directory = made
      }
    }
    return walk.isExhausted ? nil : walk.directory
  }

  /// Continues a walk at the target of a symbolic link; returns false if the path has too many links.
  private func follow(_ link: Int, _ walk: inout PathWalk) -> Bool {
    guard walk.countLink(), let target = target(of: link) else { return false }
    walk.directory = ancestor(of: walk.directory, target.up)
    walk.enter(target.names)
    return true
  }

  /// Returns the target of a link relative to its directory: the levels up, and the names below that.
  private func target(of link: Int) -> (up: Int, names: [EntryName])? {
    let node = nodes[link]
    var up = 0
    var found: [EntryName] = []
    // `TreePath.linkTarget` has written the targets: `..` occurs only at the start.
    for part in names[Int(node.first)..<Int(node.first + node.count)].split(separator: UInt8(ascii: "/")) {
      if part.elementsEqual(Array("..".utf8)) {
        up += 1
      } else if !part.elementsEqual(Array(".".utf8)) {
        guard let name = EntryName(part) else { return nil }
        found.append(name)
      }
    }
    return (up, found)
  }

  private func ancestor(of node: Int, _ count: Int) -> Int {
    var current = node
    // The root is its own parent.
    for _ in 0..<count { current = Int(nodes[current].parent) }
    return current
  }

  // MARK: Nodes

  private mutating func place(
    _ path: [EntryName],
    _ kind: FileTree.StoredKind,
    _ attributes: Attributes,
    _ layer: Int
  ) -> Int? {
    guard let name = path.last, let parent = directory(path.dropLast(), layer: layer) else { return nil }
    return put(name, in: parent, kind, attributes, layer)
  }

  /// Adds a node to a directory, replacing a node of the same name; returns nil if the tree has too many
  /// nodes.
  private mutating func put(
    _ name: EntryName,
    in parent: Int,
    _ kind: FileTree.StoredKind,
    _ attributes: Attributes,
    _ layer: Int
  ) -> Int? {
    // A path through links may be deeper than its own text, which makes every look-up below it expensive.
    guard nodes[parent].depth < Self.maximumDepth else { return nil }
    guard nodes.count < FileTree.maximumNodes, names.count + name.bytes.count <= Self.nameLimit else {
      isOverfull = true
      return nil
    }
    let key = key(name.bytes, parent)
    if let known = table[key], !nodes[Int(known)].isRemoved { nodes[Int(known)].isRemoved = true }
    let number = nodes.count
    nodes.append(
      Node(
        modificationTime: attributes.modificationTime,
        nameStart: UInt32(names.count),
        parent: Int32(parent),
        layer: Int32(layer),
        depth: nodes[parent].depth + 1,
        nextSibling: nodes[parent].firstChild,
        mode: UInt16(attributes.mode & 0o777),
        nameCount: UInt8(name.bytes.count),
        kind: kind
      )
    )
    names += name.bytes
    nodes[parent].firstChild = Int32(number)
    table[key] = Int32(number)
    return number
  }

  private func child(_ name: EntryName, of parent: Int) -> Int? {
    guard let found = table[key(name.bytes, parent)], !nodes[Int(found)].isRemoved else { return nil }
    return Int(found)
  }

  /// Returns the table key of a name in a directory, or the free key where it would be inserted.
  private func key(_ name: [UInt8], _ parent: Int) -> Int {
    // The hash is seeded randomly in each process, so that names cannot be chosen to collide.
    var hasher = Hasher()
    hasher.combine(parent)
    name.withUnsafeBytes { hasher.combine(bytes: $0) }
    var key = hasher.finalize()
    while let other = table[key] {
      let node = nodes[Int(other)]
      let start = Int(node.nameStart)
      if node.parent == Int32(parent), names[start..<start + Int(node.nameCount)].elementsEqual(name) {
        break
      }
      key &+= 1
    }
    return key
  }

  private mutating func number(of blob: Descriptor) -> Int32 {
    // Two layers of one digest may differ in annotations, which files do not use.
    if let known = blobNumbers[blob.digest], blobs[Int(known)].size == blob.size { return known }
    blobs.append(blob)
    blobNumbers[blob.digest] = Int32(blobs.count - 1)
    return Int32(blobs.count - 1)
  }
}
