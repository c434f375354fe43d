import Configuration

/// The options of a mount by name, for comparison with those of a running mount.
struct MountArguments: Equatable {
  private(set) var options: [String: [String]] = [:]
  private(set) var places: [String] = []

  private static let flags = Set(OptionTable.all.filter(\.isFlag).map(\.name))
  // These options do not affect the mount itself.
  private static let ignoredFlags: Set<String> = ["foreground", "again", "remount"]

  /// Parses the words after `weightfs mount`.
  init(_ words: some Collection<String>) {
    var rest = Array(words.reversed())
    while let word = rest.popLast() {
      if word == "--" {
        places += rest.reversed()
        return
      }
      guard word.hasPrefix("-"), word.count > 1 else {
        places.append(word)
        continue
      }
      let parts = word.drop { $0 == "-" }.split(
        separator: "=",
        maxSplits: 1,
        omittingEmptySubsequences: false
      )
      let name = String(parts[0])
      if Self.ignoredFlags.contains(name) { continue }
      let value = parts.count > 1 ? String(parts[1]) : Self.flags.contains(name) ? "" : rest.popLast() ?? ""
      if name != "ready-descriptor" { options[name, default: []].append(value) }
    }
  }

  /// Returns the names of options whose values differ.
  ///
  /// - Parameters:
  ///   - other: The requested options.
  ///   - isPart: Whether options missing in `other` keep their value.
  /// - Returns: The names, sorted; `the source` comes first.
  func differences(from other: MountArguments, isPart: Bool) -> [String] {
    let names = Set(other.options.keys).union(isPart ? [] : Array(options.keys))
    var found = names.filter { options[$0] ?? [] != other.options[$0] ?? [] }.flatMap { name in
      name == "o" ? Self.changed(options[name] ?? [], other.options[name] ?? []) : [name]
    }.sorted()
    if places.dropLast() != other.places.dropLast() { found.insert("the source", at: 0) }
    return found
  }

  /// Returns the names of kernel options that differ between two sets of `-o`.
  private static func changed(_ these: [String], _ those: [String]) -> [String] {
    let words = [these, those].map { Set($0.flatMap { $0.split(separator: ",").map(String.init) }) }
    let names = words[0].symmetricDifference(words[1]).map { String($0.prefix { $0 != "=" }) }
    return Set(names).sorted()
  }
}
