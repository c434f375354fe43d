/// Long-running work with a progress.
package struct Work: Sendable {
  /// The name of the work for the user.
  package let label: String
  /// Total number of bytes.
  package let total: Int64
  /// Bytes that were missing when the work began.
  package let missing: Int64
  /// Returns the processed bytes; called from any thread.
  package let done: @Sendable () -> Int64

  /// Creates a description of work.
  ///
  /// - Parameters:
  ///   - label: The name of the work for the user.
  ///   - total: The total number of bytes.
  ///   - missing: The number of missing bytes.
  ///   - done: Returns the processed bytes; called from any thread.
  package init(label: String, total: Int64, missing: Int64, done: @escaping @Sendable () -> Int64) {
    self.label = label
    self.total = total
    self.missing = missing
    self.done = done
  }
}

/// The progress display of one piece of work.
package protocol WorkDisplay: Sendable {
  /// Shows the final state; called once, when the work has ended.
  func end() async
}

/// Starts the progress display of a piece of work.
package typealias ShowWork = @Sendable (Work) -> any WorkDisplay
