import Locking

/// A number that only grows.
package final class Counter: Sendable {
  /// By Prometheus' rules, such as `weightfs_fetched_bytes_total`.
  package let name: String
  /// One line for people.
  package let help: String
  private let count = Atomic<UInt64>(0)

  /// Makes a counter at zero.
  ///
  /// - Parameters:
  ///   - name: by Prometheus' rules.
  ///   - help: one line.
  package init(name: String, help: String) {
    self.name = name
    self.help = help
  }

  /// Adds to it.
  ///
  /// - Parameter amount: how much.
  package func add(_ amount: UInt64 = 1) {
    count.wrappingAdd(amount, ordering: .relaxed)
  }

  /// What it stands at.
  package var value: UInt64 { count.load(ordering: .relaxed) }
}
