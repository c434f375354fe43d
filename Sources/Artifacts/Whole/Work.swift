/// Long work whose progress can be shown.
package struct Work: Sendable {
  /// The name of the work for its user.
  package let label: String
  /// Bytes in all.
  package let total: Int64
  /// Bytes that were still to come when the work began.
  package let missing: Int64
  /// Gives the bytes that are done; called from any thread.
  package let done: @Sendable () -> Int64

  /// Describes work.
  ///
  /// - Parameters:
  ///   - label: the name of the work for its user.
  ///   - total: bytes in all.
  ///   - missing: bytes of them that are still to come.
  ///   - done: gives the bytes that are done; called from any thread.
  package init(label: String, total: Int64, missing: Int64, done: @escaping @Sendable () -> Int64) {
    self.label = label
    self.total = total
    self.missing = missing
    self.done = done
  }
}

/// The display of one piece of work.
package protocol WorkDisplay: Sendable {
  /// Shows the last state; called once, when the work has ended.
  func end() async
}

/// Begins the display of a piece of work.
package typealias ShowWork = @Sendable (Work) -> any WorkDisplay
