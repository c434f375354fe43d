import Synchronization

/// A set shared by the threads of a server and a test.
final class LockedSet: Sendable {
  private let values = Mutex<Set<String>>([])

  func insert(_ value: String) { _ = values.withLock { $0.insert(value) } }
  func contains(_ value: String) -> Bool { values.withLock { $0.contains(value) } }
  var count: Int { values.withLock { $0.count } }
}
