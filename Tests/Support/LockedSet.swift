import Synchronization

/// A set shared by the threads of a server and a test.
package final class LockedSet: Sendable {
  private let values = Mutex<Set<String>>([])

  /// Makes an empty set.
  package init() {}

  package func insert(_ value: String) { _ = values.withLock { $0.insert(value) } }
  package func contains(_ value: String) -> Bool { values.withLock { $0.contains(value) } }
  package var count: Int { values.withLock { $0.count } }
}
