/// Targets of links that can be determined only in the finished tree.
extension TreeBuilder {
  /// Rewrites links that lead up from a name which is itself a link.
  ///
  /// `sl/../x` is `x` beside the directory that `sl` leads to, as for the kernel. A target that leads nowhere keeps
  /// its spelling.
  mutating func straightenLinks() {
    for (node, target) in winding.sorted(by: { $0.key < $1.key }) where !nodes[node].isRemoved {
      guard let place = place(of: target, from: Int(nodes[node].parent)) else { continue }
      let slash = UInt8(ascii: "/")
      _ = setTarget([slash] + place.map(\.bytes).joined(separator: [slash]), of: node)
    }
  }

  /// Returns the path that a target leads to, with the links among its directories followed; nil if a directory
  /// of it does not exist.
  private func place(of target: [UInt8], from folder: Int) -> [EntryName]? {
    let slash = UInt8(ascii: "/")
    let dots = Array("..".utf8)
    let parts = target.split(separator: slash).filter { !$0.elementsEqual([UInt8(ascii: ".")]) }
    var current = target.first == slash ? 0 : folder
    for (index, part) in parts.enumerated() {
      if part.elementsEqual(dots) {
        // The root is its own parent.
        current = Int(nodes[current].parent)
        continue
      }
      guard let name = EntryName(part) else { return nil }
      let path = path(of: current) + [name]
      if index == parts.count - 1 { return path }
      guard let next = walk(path[...]) else { return nil }
      current = next
    }
    return path(of: current)
  }

  /// Returns the names from the root to a node.
  func path(of node: Int) -> [EntryName] {
    var found: [EntryName] = []
    var current = node
    while current != 0 {
      let stored = nodes[current]
      let bytes = names[Int(stored.nameStart)..<Int(stored.nameStart) + Int(stored.nameCount)]
      if let name = EntryName(bytes) { found.append(name) }
      current = Int(stored.parent)
    }
    return found.reversed()
  }
}
