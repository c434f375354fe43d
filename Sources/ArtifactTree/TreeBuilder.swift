/// Puts a tree together, layer upon layer.
struct TreeBuilder {
  struct Attributes {
    var mode: UInt32
    var modificationTime: Int64
  }

  private enum Kind {
    case directory([EntryName: Int])
    case file(FileContent)
    case symbolicLink([UInt8])
  }

  private struct Node {
    var name: EntryName?
    var parent: Int
    var kind: Kind
    var attributes: Attributes
    /// The layer that put it there last.
    var layer: Int
  }

  private var nodes: [Node]
  private(set) var problems: [String] = []
  /// Of folders that no packaging mentions.
  private let defaultTime: Int64

  // An artifact with more problems than this is not understood by reading them.
  private static let problemLimit = 100

  init(defaultTime: Int64) {
    self.defaultTime = defaultTime
    let attributes = Attributes(mode: 0o555, modificationTime: defaultTime)
    nodes = [Node(name: nil, parent: 0, kind: .directory([:]), attributes: attributes, layer: 0)]
  }

  mutating func note(_ problem: String) {
    if problems.count < Self.problemLimit { problems.append(problem) }
  }

  func exists(_ path: [EntryName]) -> Bool { find(path) != nil }

  func content(at path: [EntryName]) -> FileContent? {
    guard let node = find(path), case .file(let content) = nodes[node].kind else { return nil }
    return content
  }

  func attributes(at path: [EntryName]) -> Attributes? { find(path).map { nodes[$0].attributes } }

  /// Puts a file at a path; what was there of a lower layer goes.
  ///
  /// False where a file stands in the way above it.
  mutating func addFile(
    _ content: FileContent,
    at path: [EntryName],
    _ attributes: Attributes,
    layer: Int
  ) -> Bool {
    add(.file(content), at: path, attributes, layer: layer)
  }

  mutating func addLink(_ target: [UInt8], at path: [EntryName], _ attributes: Attributes, layer: Int) -> Bool
  {
    add(.symbolicLink(target), at: path, attributes, layer: layer)
  }

  mutating func addDirectory(at path: [EntryName], _ attributes: Attributes, layer: Int) -> Bool {
    if let node = find(path), case .directory = nodes[node].kind {
      nodes[node].attributes = attributes
      nodes[node].layer = layer
      return true
    }
    return add(.directory([:]), at: path, attributes, layer: layer)
  }

  /// Takes out what lower layers put at a path (image-spec layer.md, "Whiteouts").
  mutating func whiteOut(_ path: [EntryName], layer: Int) {
    guard let node = find(path), node != 0 else { return }
    hideLower(node, layer)
  }

  /// Takes out what lower layers put below a path.
  mutating func makeOpaque(_ path: [EntryName], layer: Int) {
    guard let node = find(path), case .directory(let children) = nodes[node].kind else { return }
    for child in children.values { hideLower(child, layer) }
  }

  /// Takes a node out, or, of a folder in which this layer has something, what is of lower layers.
  private mutating func hideLower(_ node: Int, _ layer: Int) {
    if nodes[node].layer < layer {
      detach(node)
    } else if case .directory(let children) = nodes[node].kind {
      for child in children.values { hideLower(child, layer) }
    }
  }

  private mutating func add(_ kind: Kind, at path: [EntryName], _ attributes: Attributes, layer: Int) -> Bool
  {
    guard let name = path.last, let parent = folder(path.dropLast(), layer: layer) else { return false }
    guard var children = takeChildren(of: parent) else { return false }
    nodes.append(Node(name: name, parent: parent, kind: kind, attributes: attributes, layer: layer))
    children[name] = nodes.count - 1
    nodes[parent].kind = .directory(children)
    return true
  }

  /// The folder at a path, made where it is not there.
  ///
  /// Never through a link or a file of the same layer.
  private mutating func folder(_ path: ArraySlice<EntryName>, layer: Int) -> Int? {
    var current = 0
    for name in path {
      guard case .directory(let known) = nodes[current].kind else { return nil }
      if let child = known[name] {
        if case .directory = nodes[child].kind {
          // It holds something of this layer, so a whiteout of a lower one does not take it.
          nodes[child].layer = layer
          current = child
          continue
        }
        guard nodes[child].layer < layer else { return nil }
      }
      let attributes = Attributes(mode: 0o555, modificationTime: defaultTime)
      nodes.append(
        Node(name: name, parent: current, kind: .directory([:]), attributes: attributes, layer: layer)
      )
      put(nodes.count - 1, as: name, in: current)
      current = nodes.count - 1
    }
    return current
  }

  private mutating func put(_ node: Int?, as name: EntryName, in parent: Int) {
    guard var children = takeChildren(of: parent) else { return }
    children[name] = node
    nodes[parent].kind = .directory(children)
  }

  /// The children of a folder, out of their place, so that changing them copies nothing.
  private mutating func takeChildren(of parent: Int) -> [EntryName: Int]? {
    guard case .directory(let children) = nodes[parent].kind else { return nil }
    nodes[parent].kind = .directory([:])
    return children
  }

  private mutating func detach(_ node: Int) {
    guard let name = nodes[node].name else { return }
    put(nil, as: name, in: nodes[node].parent)
  }

  private func find(_ path: [EntryName]) -> Int? {
    var current = 0
    for name in path {
      guard case .directory(let children) = nodes[current].kind, let child = children[name] else {
        return nil
      }
      current = child
    }
    return current
  }

  /// The finished tree: what is reachable, numbered from the root.
  func build() -> FileTree {
    var built: [FileTree.Node] = []
    func visit(_ node: Int, parent: Int) -> Int {
      let number = built.count
      let source = nodes[node]
      func make(_ kind: FileTree.Kind) -> FileTree.Node {
        FileTree.Node(
          name: source.name,
          parent: parent,
          kind: kind,
          mode: source.attributes.mode & 0o555,
          modificationTime: source.attributes.modificationTime
        )
      }
      switch source.kind {
      case .file(let content): built.append(make(.file(content)))
      case .symbolicLink(let target): built.append(make(.symbolicLink(target)))
      case .directory(let children):
        built.append(make(.directory([])))
        let ordered = children.sorted { $0.key < $1.key }
        let numbers = ordered.map { visit($0.value, parent: number) }
        built[number] = make(.directory(numbers))
      }
      return number
    }
    _ = visit(0, parent: 0)
    return FileTree(nodes: built, problems: problems)
  }
}
