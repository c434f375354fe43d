import Content

/// The components of a path that remain to be resolved, with limits on links and steps.
struct PathWalk {
  /// The directory in which the next component is looked up.
  var directory = 0
  private var rest: [EntryName]
  private var links = 0
  private var steps = 0
  /// Whether the path has exceeded the limit on components.
  private(set) var isExhausted = false

  // The same limit as in the kernel (MAXSYMLINKS).
  private static let linkLimit = 40
  // Maximum number of components of one path, including those of the links that it leads through: eight times
  // those of
  // the deepest path.
  private static let stepLimit = 1024

  init(_ path: ArraySlice<EntryName>) { rest = path.reversed() }

  mutating func next() -> EntryName? {
    guard let name = rest.popLast() else { return nil }
    steps += 1
    isExhausted = steps > Self.stepLimit
    return isExhausted ? nil : name
  }

  /// Counts a symbolic link; returns false if the limit is exceeded.
  mutating func countLink() -> Bool {
    links += 1
    return links <= Self.linkLimit
  }

  /// Adds the target of a link; its components count twice, as they are also parsed.
  mutating func enter(_ names: [EntryName]) {
    steps += names.count
    rest += names.reversed()
  }
}
