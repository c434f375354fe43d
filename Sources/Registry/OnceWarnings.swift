import Locking

/// What was warned of already, so that one cause is one line in the log.
package final class OnceWarnings: Sendable {
  // Beyond this many the memory starts again.
  private static let limit = 1000
  private let told = Mutex<Set<String>>([])

  package init() {}

  /// Whether a cause is new.
  ///
  /// - Parameter cause: what tells it from others.
  /// - Returns: true the first time.
  package func isFirst(_ cause: String) -> Bool {
    told.withLock { told in
      if told.count >= Self.limit { told = [] }
      return told.insert(cause).inserted
    }
  }
}
