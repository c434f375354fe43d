import OCI

/// Conversion of the builder's nodes to a finished tree.
extension TreeBuilder {
  /// Returns the finished tree with the reachable nodes, numbered from the root.
  ///
  /// - Parameter root: The directory that becomes the root; nil for the root of all layers.
  func build(root: Int? = nil) -> FileTree {
    var stored: [FileTree.Stored] = []
    var builtNames: [UInt8] = []
    var builtChildren: [Int32] = []
    func add(_ node: Int, parent: Int) -> Int {
      let source = nodes[node]
      let (start, nameCount) = (Int(source.nameStart), node == root ? 0 : source.nameCount)
      stored.append(
        FileTree.Stored(
          modificationTime: source.modificationTime,
          first: source.first,
          count: source.count,
          nameStart: UInt32(builtNames.count),
          parent: Int32(parent),
          blob: source.blob,
          mode: source.mode & 0o555,
          nameCount: nameCount,
          kind: source.kind
        )
      )
      builtNames += names[start..<start + Int(nameCount)]
      if source.kind == .symbolicLink {
        stored[stored.count - 1].first = Int64(builtNames.count)
        builtNames += names[Int(source.first)..<Int(source.first + source.count)]
      }
      return stored.count - 1
    }
    // Directories whose children are still to be added, with their number in the tree.
    var open = [(node: root ?? 0, number: add(root ?? 0, parent: 0))]
    while let (node, number) = open.popLast() {
      let ordered = children(of: node).sorted { left, right in
        bytes(of: left).lexicographicallyPrecedes(bytes(of: right))
      }
      stored[number].first = Int64(builtChildren.count)
      stored[number].count = Int64(ordered.count)
      for child in ordered {
        let made = add(child, parent: number)
        builtChildren.append(Int32(made))
        if nodes[child].kind == .directory { open.append((child, made)) }
      }
    }
    return FileTree(
      stored: stored,
      names: builtNames,
      children: builtChildren,
      layers: blobs.map { Layer($0) },
      problems: problems,
      withheld: withheld
    )
  }

  // KServe mounts this directory of a modelcar.
  private static let modelFolderName = Array("models".utf8)

  /// The directory of an image that has its models: `/models`, if it is a directory with a file and no link in
  /// it leads out of it; nil otherwise.
  var modelFolder: Int? {
    let found = children(of: 0).first { bytes(of: $0).elementsEqual(Self.modelFolderName) }
    guard let folder = found, nodes[folder].kind == .directory else { return nil }
    var hasFile = false
    var open = [(node: folder, depth: 0)]
    while let (node, depth) = open.popLast() {
      for child in children(of: node) {
        switch nodes[child].kind {
        case .directory: open.append((child, depth + 1))
        case .file: hasFile = true
        case .symbolicLink: if levelsUp(child) > depth { return nil }
        }
      }
    }
    return hasFile ? folder : nil
  }

  /// The number of directories that a link's target leads up.
  private func levelsUp(_ link: Int) -> Int {
    let target = names[Int(nodes[link].first)..<Int(nodes[link].first + nodes[link].count)]
    let up = Array("..".utf8)
    // `..` occurs only at the start (`TreePath.linkTarget`).
    return target.split(separator: UInt8(ascii: "/")).prefix { $0.elementsEqual(up) }.count
  }

  private func bytes(of node: Int) -> ArraySlice<UInt8> {
    let stored = nodes[node]
    return names[Int(stored.nameStart)..<Int(stored.nameStart) + Int(stored.nameCount)]
  }
}
