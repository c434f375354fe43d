import OCI

/// Conversion of the builder's nodes to a finished tree.
extension TreeBuilder {
  /// Returns the finished tree with the reachable nodes, numbered from the root.
  func build() -> FileTree {
    var stored: [FileTree.Stored] = []
    var builtNames: [UInt8] = []
    var builtChildren: [Int32] = []
    func add(_ node: Int, parent: Int) -> Int {
      let source = nodes[node]
      let start = Int(source.nameStart)
      stored.append(
        FileTree.Stored(
          modificationTime: source.modificationTime,
          first: source.first,
          count: source.count,
          nameStart: UInt32(builtNames.count),
          parent: Int32(parent),
          blob: source.blob,
          mode: source.mode & 0o555,
          nameCount: source.nameCount,
          kind: source.kind
        )
      )
      builtNames += names[start..<start + Int(source.nameCount)]
      if source.kind == .symbolicLink {
        stored[stored.count - 1].first = Int64(builtNames.count)
        builtNames += names[Int(source.first)..<Int(source.first + source.count)]
      }
      return stored.count - 1
    }
    // Directories whose children are still to be added, with their number in the tree.
    var open = [(node: 0, number: add(0, parent: 0))]
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

  private func bytes(of node: Int) -> ArraySlice<UInt8> {
    let stored = nodes[node]
    return names[Int(stored.nameStart)..<Int(stored.nameStart) + Int(stored.nameCount)]
  }
}
