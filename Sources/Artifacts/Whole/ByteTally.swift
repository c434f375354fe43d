import Locking

/// A count of processed bytes, updated by one thread and read by another.
package final class ByteTally: Sendable {
  private let count = Atomic<Int64>(0)

  /// Creates a count of 0.
  package init() {}

  /// The number of processed bytes.
  package var value: Int64 { count.load(ordering: .relaxed) }

  /// Adds bytes.
  package func add(_ more: Int64) { count.add(more, ordering: .relaxed) }
}
