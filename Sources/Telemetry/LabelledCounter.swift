import Locking

/// Counters that differ in the values of some labels, such as host and status.
///
/// The number of counters is bounded, as hosts and reasons come from outside.
package final class LabelledCounter: Metric {
  package let name: String
  package let help: String
  package let labels: [String]
  private let counts = Mutex<[[String]: UInt64]>([:])

  // Further values are counted under `other`.
  private static let limit = 200
  // Bytes of a value; a host name has at most 253.
  private static let longestValue = 253

  /// Creates counters.
  ///
  /// - Parameters:
  ///   - name: The name according to Prometheus' rules.
  ///   - labels: The names of the labels.
  ///   - help: One line.
  package init(name: String, labels: [String], help: String) {
    self.name = name
    self.labels = labels
    self.help = help
  }

  /// Increments the counter of some values.
  ///
  /// - Parameters:
  ///   - values: As many as there are labels.
  ///   - amount: The amount to add.
  package func add(_ values: [String], _ amount: UInt64 = 1) {
    counts.withLock { counts in
      let key = values.map { String($0.prefix(Self.longestValue)) }
      if counts[key] != nil || counts.count < Self.limit {
        counts[key, default: 0] += amount
      } else {
        counts[labels.map { _ in "other" }, default: 0] += amount
      }
    }
  }

  /// The counters with their values, in the order of the values.
  package var all: [(values: [String], count: UInt64)] {
    counts.withLock { $0 }.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { ($0.key, $0.value) }
  }

  package var kind: String { "counter" }

  package var samples: String {
    all.map { values, count in
      let pairs = zip(labels, values).map { "\($0)=\"\(Self.escaped($1))\"" }
      return "\(name){\(pairs.joined(separator: ","))} \(count)\n"
    }.joined()
  }

  private static func escaped(_ value: String) -> String {
    value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }
}
