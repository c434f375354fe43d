package import OCI

/// Where a run of a file's bytes lies in a blob.
package struct Extent: Sendable, Hashable {
  package let fileOffset: Int64
  package let blobOffset: Int64
  package let count: Int64
}

/// The bytes of a file: runs of one blob.
package struct FileContent: Sendable, Hashable {
  /// Of the layer that has the bytes.
  package let blob: Descriptor
  /// In order, without gaps.
  package let extents: [Extent]
  /// Of the file, bytes.
  package let size: Int64

  /// Whether the file is all of its blob.
  package var isWholeBlob: Bool { size == blob.size && (extents.first?.blobOffset ?? 0) == 0 }

  /// A file that is a whole blob.
  ///
  /// - Parameter blob: of the layer.
  init(whole blob: Descriptor) {
    self.blob = blob
    size = blob.size
    extents = [Extent(fileOffset: 0, blobOffset: 0, count: blob.size)]
  }

  /// A file that is a range of a blob.
  ///
  /// - Parameters:
  ///   - blob: of the layer.
  ///   - offset: of its first byte in the blob.
  ///   - size: of the file.
  init(blob: Descriptor, offset: Int64, size: Int64) {
    self.blob = blob
    self.size = size
    extents = [Extent(fileOffset: 0, blobOffset: offset, count: size)]
  }
}

/// The files, folders and links of an artifact.
///
/// Immutable; node 0 is the root.
package struct FileTree: Sendable {
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

  package let nodes: [Node]
  /// What was left out or renamed, and why; one line each.
  package let problems: [String]

  /// Finds a child.
  ///
  /// - Parameters:
  ///   - name: bytes.
  ///   - parent: the number of a folder.
  /// - Returns: nil where there is none.
  package func child(_ name: EntryName, of parent: Int) -> Int? {
    guard case .directory(let children) = nodes[parent].kind else { return nil }
    var low = 0
    var high = children.count
    while low < high {
      let middle = (low + high) / 2
      guard let other = nodes[children[middle]].name else { return nil }
      if other == name { return children[middle] }
      if other < name { low = middle + 1 } else { high = middle }
    }
    return nil
  }

  /// The path of a node, from the root.
  ///
  /// - Parameter node: its number.
  /// - Returns: the text.
  package func path(of node: Int) -> String {
    var names: [String] = []
    var current = node
    while current != 0 {
      names.append(nodes[current].name?.description ?? "")
      current = nodes[current].parent
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
        current = nodes[current].parent
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
    var current = 0
    for name in names {
      guard let next = child(name, of: current) else { return nil }
      current = next
    }
    return current
  }
}
