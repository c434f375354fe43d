/// Models that are split into numbered files: `…-00001-of-00005.gguf` and `.safetensors`.
///
/// Pure functions of names.
package enum Shards {
  /// One file of a split model.
  struct Shard: Equatable {
    /// The path before the numbers, and the suffix.
    let stem: String
    let suffix: String
    /// From 1.
    let number: Int
    let count: Int
    /// The number of digits.
    let width: Int

    /// Parses a path, or returns nil if it is not that of a shard.
    init?(path: String) {
      guard let dot = path.lastIndex(of: ".") else { return nil }
      let suffix = String(path[dot...])
      guard Shards.suffixes.contains(suffix.lowercased()) else { return nil }
      let parts = path[..<dot].split(separator: "-", omittingEmptySubsequences: false)
      guard parts.count >= 4, parts[parts.count - 2] == "of" else { return nil }
      let (first, second) = (parts[parts.count - 3], parts[parts.count - 1])
      guard first.count == second.count, let number = Int(first), let count = Int(second), number >= 1,
        count >= 1, number <= count
      else { return nil }
      stem = parts.dropLast(3).joined(separator: "-")
      (self.suffix, self.number, self.count, width) = (suffix, number, count, first.count)
    }

    /// The path of another shard of the same model.
    func path(of number: Int) -> String {
      Shards.path(stem, number, of: count, suffix, width: width)
    }
  }

  /// Returns the path of a shard.
  ///
  /// - Parameters:
  ///   - stem: The path before the numbers.
  ///   - number: The number of the shard, from 1.
  ///   - count: The number of shards.
  ///   - suffix: The suffix with its dot.
  ///   - width: The number of digits.
  static func path(_ stem: String, _ number: Int, of count: Int, _ suffix: String, width: Int = 5) -> String {
    func padded(_ value: Int) -> String {
      let digits = String(value)
      return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
    return "\(stem)-\(padded(number))-of-\(padded(count))\(suffix)"
  }

  /// Whether a name has the suffix of a model that may be split.
  static func isModel(_ name: String) -> Bool {
    let name = name.lowercased()
    return suffixes.contains { name.hasSuffix($0) }
  }

  private static let suffixes: Set<String> = [".gguf", ".safetensors"]
  // A model has at most some hundred shards; a name can claim more.
  private static let limit = 100

  /// Returns the shards that are missing among the files of an artifact; the first hundred.
  ///
  /// - Parameter paths: The paths of the files.
  package static func missing(among paths: [String]) -> [String] {
    var groups: [String: (sample: Shard, numbers: Set<Int>)] = [:]
    for path in paths {
      guard let shard = Shard(path: path) else { continue }
      groups["\(shard.stem)-\(shard.count)-\(shard.width)\(shard.suffix)", default: (shard, [])].numbers
        .insert(
          shard.number
        )
    }
    var found: [String] = []
    for (_, group) in groups.sorted(by: { $0.key < $1.key }) where group.numbers.count < group.sample.count {
      for number in 1...group.sample.count where !group.numbers.contains(number) {
        found.append(group.sample.path(of: number))
        if found.count == limit { return found }
      }
    }
    return found
  }
}
