import Locking

/// Bytes that are done, told by one thread and shown by another.
final class ByteTally: Sendable {
  private let count = Atomic<Int64>(0)

  var value: Int64 { count.load(ordering: .relaxed) }

  func add(_ more: Int64) { count.add(more, ordering: .relaxed) }
}
