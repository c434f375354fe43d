import Locking

/// Bytes that are done, told by one thread and shown by another.
package final class ByteTally: Sendable {
  private let count = Atomic<Int64>(0)

  /// Starts at 0.
  package init() {}

  /// The bytes that are done.
  package var value: Int64 { count.load(ordering: .relaxed) }

  /// Counts bytes.
  ///
  /// - Parameter more: from 0.
  package func add(_ more: Int64) { count.add(more, ordering: .relaxed) }
}
