/// The number of insertions, deletions and replacements between two words (Levenshtein).
enum EditDistance {
  // Longer words are cut: the cost is the product of the lengths.
  private static let limit = 64

  static func between(_ first: String, _ second: String) -> Int {
    let (left, right) = (Array(first.prefix(limit)), Array(second.prefix(limit)))
    var row = Array(0...right.count)
    for (index, letter) in left.enumerated() {
      var diagonal = row[0]
      row[0] = index + 1
      for (column, other) in right.enumerated() {
        let replaced = diagonal + (letter == other ? 0 : 1)
        diagonal = row[column + 1]
        row[column + 1] = min(replaced, row[column] + 1, diagonal + 1)
      }
    }
    return row[right.count]
  }
}
