import Locking

/// A counter that only increases.
package final class Counter: Metric {
  /// The name according to Prometheus' rules, such as `weightfs_fetched_bytes_total`.
  package let name: String
  /// A description for people, one line.
  package let help: String
  private let count = Atomic<UInt64>(0)

  /// Creates a counter with the value 0.
  ///
  /// - Parameters:
  ///   - name: The name according to Prometheus' rules.
  ///   - help: One line.
  package init(name: String, help: String) {
    self.name = name
    self.help = help
  }

  /// Increments the counter.
  package func add(_ amount: UInt64 = 1) {
    count.wrappingAdd(amount, ordering: .relaxed)
  }

  /// The current value.
  package var value: UInt64 { count.load(ordering: .relaxed) }

  package var kind: String { "counter" }
  package var samples: String { "\(name) \(value)\n" }
}
