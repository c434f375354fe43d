import Locking

/// The causes that were already logged, so that each cause is logged once.
package final class OnceWarnings: Sendable {
  // The maximum number of causes; a full set is cleared.
  private static let limit = 1000
  private let told = Mutex<Set<String>>([])

  package init() {}

  /// Returns whether a cause is new, and records it.
  ///
  /// - Parameter cause: A text that identifies the cause.
  package func isFirst(_ cause: String) -> Bool {
    told.withLock { told in
      if told.count >= Self.limit { told = [] }
      return told.insert(cause).inserted
    }
  }
}
