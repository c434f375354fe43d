package import OCI

/// The descriptor of a layer, shared by all files in it, so that a file stores only a pointer.
package final class Layer: Sendable {
  package let descriptor: Descriptor

  init(_ descriptor: Descriptor) { self.descriptor = descriptor }
}

/// The bytes of a file: one range of one blob.
package struct FileContent: Sendable {
  private let layer: Layer
  /// Offset of the file's first byte in the blob.
  package let offset: Int64
  /// Size of the file in bytes.
  package let size: Int64

  /// The descriptor of the layer that has the bytes.
  package var blob: Descriptor { layer.descriptor }

  /// The range of the bytes in the blob.
  package var range: Range<Int64> { offset..<offset + size }

  /// Whether the file is the complete blob.
  package var isWholeBlob: Bool { size == layer.descriptor.size && offset == 0 }

  /// Creates the content of a file that is a complete blob.
  init(whole blob: Descriptor) {
    self.init(layer: Layer(blob), offset: 0, size: blob.size)
  }

  /// Creates the content of a file that is a range of a blob.
  ///
  /// - Parameters:
  ///   - layer: The layer that has the bytes.
  ///   - offset: The offset of the first byte in the blob.
  ///   - size: The size of the file in bytes.
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
/// Immutable; node 0 is the root. An artifact may have a million nodes, so they are stored in one array of
/// numbers and one of names, with about 80 bytes per node besides its name; a `Node` is created on access.
package struct FileTree: Sendable {
  /// The maximum number of files, directories and links of an artifact.
  package static let maximumNodes = 1_000_000

  /// The type of an entry.
  package enum Kind: Sendable {
    /// The numbers of the children, sorted by name.
    case directory([Int])
    case file(FileContent)
    case symbolicLink([UInt8])
  }

  /// An entry.
  package struct Node: Sendable {
    /// Nil only for the root.
    package let name: EntryName?
    package let parent: Int
    package let kind: Kind
    /// Permission bits, without write permission.
    package let mode: UInt32
    /// Seconds since 1970.
    package let modificationTime: Int64
  }

  enum StoredKind: UInt8 {
    case directory, file, symbolicLink
  }

  /// The stored form of a node.
  struct Stored {
    var modificationTime: Int64
    /// File: offset in the blob; link: start of the target in `names`; directory: start of the children in
    /// `children`.
    var first: Int64
    /// File: size; link: length of the target; directory: number of children.
    var count: Int64
    var nameStart: UInt32
    var parent: Int32
    /// File: index of the blob in `layers`.
    var blob: Int32
    var mode: UInt16
    var nameCount: UInt8
    var kind: StoredKind
  }

  let stored: [Stored]
  let names: [UInt8]
  let children: [Int32]
  let layers: [Layer]
  /// Entries that were omitted or renamed, with the reason; one line each.
  package let problems: [String]
  /// The first hundred layers that are not shown under their own name.
  package let withheld: [WithheldName]

  /// The missing files of split models, by the names of those that are there.
  package internal(set) var missingShards: [String] = []

  /// Memory of the tree in bytes.
  package var memory: Int {
    stored.count * MemoryLayout<Stored>.stride + names.count + children.count * 4 + layers.count * 512
  }

  /// All nodes, by number.
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

  /// Returns the name of a node; nil for the root.
  package func name(of number: Int) -> EntryName? { EntryName(nameBytes(of: number)) }

  /// Returns the modification time of a node in seconds since 1970.
  package func modificationTime(of number: Int) -> Int64 { stored[number].modificationTime }

  /// Returns the child of a directory with a name, or nil.
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

  /// Returns the path of a node from the root.
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

  /// Returns the node that a path leads to, following symbolic links; nil if there is none or the links form
  /// a loop.
  ///
  /// - Parameter path: A path relative to the root; a leading slash also means the root.
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

  /// Returns the node at a path relative to the root, or nil.
  package func node(at path: String) -> Int? {
    guard let names = try? TreePath.parse(member: Array(path.utf8)) else { return nil }
    return node(at: names)
  }

  /// Returns the node at a sequence of names, or nil.
  ///
  /// - Parameter names: The names from the root, without `..`; symbolic links are not followed.
  package func node(at names: some Sequence<EntryName>) -> Int? {
    var current = 0
    for name in names {
      guard let next = child(name, of: current) else { return nil }
      current = next
    }
    return current
  }
}
