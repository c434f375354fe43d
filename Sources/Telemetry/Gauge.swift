import Locking

/// A value that goes up and down, such as the number of open files.
package final class Gauge: Metric {
  package let name: String
  package let help: String
  private let count = Atomic<Int64>(0)

  /// Creates a gauge with the value 0.
  ///
  /// - Parameters:
  ///   - name: The name according to Prometheus' rules.
  ///   - help: One line.
  package init(name: String, help: String) {
    self.name = name
    self.help = help
  }

  /// Sets the value.
  package func set(_ value: Int64) { count.store(value, ordering: .relaxed) }

  /// Changes the value.
  package func add(_ amount: Int64) { count.wrappingAdd(amount, ordering: .relaxed) }

  /// The current value.
  package var value: Int64 { count.load(ordering: .relaxed) }

  package var kind: String { "gauge" }
  package var samples: String { "\(name) \(value)\n" }
}
