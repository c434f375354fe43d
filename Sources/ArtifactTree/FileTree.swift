package import OCI

/// The descriptor of a layer, shared by all files in it: a node of the kernel's costs a pointer for it.
package final class Layer: Sendable {
  package let descriptor: Descriptor

  init(_ descriptor: Descriptor) { self.descriptor = descriptor }
}

/// The bytes of a file: one run of one blob.
package struct FileContent: Sendable {
  private let layer: Layer
  /// Of the file's first byte in the blob.
  package let offset: Int64
  /// Of the file, bytes.
  package let size: Int64

  /// Of the layer that has the bytes.
  package var blob: Descriptor { layer.descriptor }

  /// Where the bytes lie in the blob.
  package var range: Range<Int64> { offset..<offset + size }

  /// Whether the file is all of its blob.
  package var isWholeBlob: Bool { size == layer.descriptor.size && offset == 0 }

  /// A file that is a whole blob.
  ///
  /// - Parameter blob: of the layer.
  init(whole blob: Descriptor) {
    self.init(layer: Layer(blob), offset: 0, size: blob.size)
  }

  /// A file that is a range of a blob.
  ///
  /// - Parameters:
  ///   - layer: that has the bytes.
  ///   - offset: of its first byte in the blob.
  ///   - size: of the file.
  init(layer: Layer, offset: Int64, size: Int64) {
    self.layer = layer
    self.offset = offset
    self.size = size
  }
}

extension FileContent: Equatable {
  package static func == (left: FileContent, right: FileContent) -> Bool {
    left.blob == right.blob && left.range == right.range
  }
}

/// The files, directories and links of an artifact.
///
/// Immutable; node 0 is the root. Nodes are stored in one array of numbers and one of names, some 80 bytes a node
/// beside its name, as an artifact may have a million of them; a `Node` is made when it is asked for.
package struct FileTree: Sendable {
  /// The most files, directories and links that an artifact may have.
  package static let maximumNodes = 1_000_000

  /// What an entry is.
  package enum Kind: Sendable {
    /// The children's numbers, by name.
    case directory([Int])
    case file(FileContent)
    case symbolicLink([UInt8])
  }

  /// An entry.
  package struct Node: Sendable {
    /// Nil for the root alone.
    package let name: EntryName?
    package let parent: Int
    package let kind: Kind
    /// Permission bits, without those to write.
    package let mode: UInt32
    /// Seconds since 1970.
    package let modificationTime: Int64
  }

  enum StoredKind: UInt8 {
    case directory, file, symbolicLink
  }

  /// A node as it is stored.
  struct Stored {
    var modificationTime: Int64
    /// Of a file: its offset in the blob.
    ///
    /// Of a link: where its target starts in `names`. Of a directory: where its children start in `children`.
    var first: Int64
    /// Of a file: its size.
    ///
    /// Of a link: bytes of its target. Of a directory: how many children it has.
    var count: Int64
    var nameStart: UInt32
    var parent: Int32
    /// Of a file: its blob in `layers`.
    var blob: Int32
    var mode: UInt16
    var nameCount: UInt8
    var kind: StoredKind
  }

  let stored: [Stored]
  let names: [UInt8]
  let children: [Int32]
  let layers: [Layer]
  /// What was left out or renamed, and why; one line each.
  package let problems: [String]
  /// Layers that are not shown under their own names; the first hundred.
  package let withheld: [WithheldName]

  /// What the tree takes, bytes.
  package var memory: Int {
    stored.count * MemoryLayout<Stored>.stride + names.count + children.count * 4 + layers.count * 512
  }

  /// Every node by its number.
  package var nodes: Nodes { Nodes(tree: self) }

  /// The nodes of a tree.
  package struct Nodes: RandomAccessCollection, Sendable {
    let tree: FileTree

    package var startIndex: Int { 0 }
    package var endIndex: Int { tree.stored.count }

    package subscript(number: Int) -> Node {
      let node = tree.stored[number]
      let (first, count) = (Int(node.first), Int(node.count))
      let kind: Kind =
        switch node.kind {
        case .directory: .directory(tree.children[first..<first + count].map { Int($0) })
        case .symbolicLink: .symbolicLink(Array(tree.names[first..<first + count]))
        case .file:
          .file(FileContent(layer: tree.layers[Int(node.blob)], offset: node.first, size: node.count))
        }
      return Node(
        name: tree.name(of: number),
        parent: Int(node.parent),
        kind: kind,
        mode: UInt32(node.mode),
        modificationTime: node.modificationTime
      )
    }
  }

  private func nameBytes(of number: Int) -> ArraySlice<UInt8> {
    let node = stored[number]
    return names[Int(node.nameStart)..<Int(node.nameStart) + Int(node.nameCount)]
  }

  /// The name of a node; nil for the root.
  ///
  /// - Parameter number: of the node.
  /// - Returns: nil for the root.
  package func name(of number: Int) -> EntryName? { EntryName(nameBytes(of: number)) }

  /// When a node was last modified, seconds since 1970.
  ///
  /// - Parameter number: of the node.
  /// - Returns: seconds since 1970.
  package func modificationTime(of number: Int) -> Int64 { stored[number].modificationTime }

  /// Finds a child.
  ///
  /// - Parameters:
  ///   - name: bytes.
  ///   - parent: the number of a directory.
  /// - Returns: nil where there is none.
  package func child(_ name: EntryName, of parent: Int) -> Int? {
    let node = stored[parent]
    guard node.kind == .directory else { return nil }
    var low = Int(node.first)
    var high = low + Int(node.count)
    while low < high {
      let middle = (low + high) / 2
      let number = Int(children[middle])
      let other = nameBytes(of: number)
      if other.elementsEqual(name.bytes) { return number }
      if other.lexicographicallyPrecedes(name.bytes) { low = middle + 1 } else { high = middle }
    }
    return nil
  }

  /// The path of a node, from the root.
  ///
  /// - Parameter node: its number.
  package func path(of node: Int) -> String {
    var names: [String] = []
    var current = node
    while current != 0 {
      names.append(name(of: current)?.description ?? "")
      current = Int(stored[current].parent)
    }
    return names.reversed().joined(separator: "/")
  }

  /// Every file with its number, in the order of paths.
  package var files: [(node: Int, content: FileContent)] {
    var found: [(node: Int, content: FileContent)] = []
    var stack = [0]
    while let node = stack.popLast() {
      switch nodes[node].kind {
      case .directory(let children): stack += children.reversed()
      case .file(let content): found.append((node, content))
      case .symbolicLink: break
      }
    }
    return found
  }

  /// Finds what a path leads to, through symbolic links.
  ///
  /// - Parameter path: relative to the root; a slash before it means the root too.
  /// - Returns: nil where there is nothing, or links lead in a circle.
  package func resolve(_ path: String) -> Int? {
    var rest = path.utf8.split(separator: UInt8(ascii: "/")).map { Array($0) }
    var current = 0
    var links = 0
    while !rest.isEmpty {
      let part = rest.removeFirst()
      if part == Array(".".utf8) { continue }
      if part == Array("..".utf8) {
        current = Int(stored[current].parent)
        continue
      }
      guard let name = EntryName(part), let next = child(name, of: current) else { return nil }
      guard case .symbolicLink(let target) = nodes[next].kind else {
        current = next
        continue
      }
      links += 1
      guard links <= 40 else { return nil }
      rest = target.split(separator: UInt8(ascii: "/")).map { Array($0) } + rest
    }
    return current
  }

  /// Finds a node by path.
  ///
  /// - Parameter path: relative to the root.
  /// - Returns: nil where there is none.
  package func node(at path: String) -> Int? {
    guard let names = try? TreePath.parse(member: Array(path.utf8)) else { return nil }
    return node(at: names)
  }

  /// Finds a node by the names that lead to it.
  ///
  /// - Parameter names: from the root, without `..`; symbolic links are not followed.
  /// - Returns: nil where there is none.
  package func node(at names: some Sequence<EntryName>) -> Int? {
    var current = 0
    for name in names {
      guard let next = child(name, of: current) else { return nil }
      current = next
    }
    return current
  }
}
