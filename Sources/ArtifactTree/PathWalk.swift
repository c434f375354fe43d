import Content

/// The components of a path that are still to be resolved, within the limits of one path.
struct PathWalk {
  /// The node that the next component is a name in.
  var directory = 0
  private var rest: [EntryName]
  private var links = 0
  private var steps = 0
  /// The path has more components than one path may have.
  private(set) var isExhausted = false

  // As many as the kernel follows (MAXSYMLINKS).
  private static let linkLimit = 40
  // Components of one path with all the links it leads through: what a path of 128 needs eight times over.
  private static let stepLimit = 1024

  init(_ path: ArraySlice<EntryName>) { rest = path.reversed() }

  mutating func next() -> EntryName? {
    guard let name = rest.popLast() else { return nil }
    steps += 1
    isExhausted = steps > Self.stepLimit
    return isExhausted ? nil : name
  }

  /// Counts a symbolic link; false where it is one too many.
  mutating func countLink() -> Bool {
    links += 1
    return links <= Self.linkLimit
  }

  /// Adds the target of a link, which was read as a whole: its names count twice.
  mutating func enter(_ names: [EntryName]) {
    steps += names.count
    rest += names.reversed()
  }
}
