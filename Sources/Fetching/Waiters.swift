/// The waiters of a blob, in order of arrival.
///
/// Pure: the caller decides which waits are over, and answers the removed waiters.
package struct Waiters<Reply: Sendable>: Sendable {
  /// A reply that waits for bytes.
  package struct Waiter: Sendable {
    package let reply: Reply
    /// The byte range to answer with; may be empty.
    package let range: Range<Int64>
    /// Whether the complete blob must be verified first.
    package let needsWhole: Bool
    /// The reading thread, if its death ends the wait; nil otherwise.
    package let caller: Int32?
    /// Whether a reader of a file waits, not a command that prefetches.
    package let isReader: Bool
    package let since: ContinuousClock.Instant

    /// Creates a waiter.
    ///
    /// - Parameters:
    ///   - reply: Answered when the wait is over.
    ///   - range: The byte range to answer with.
    ///   - needsWhole: Whether the complete blob must be verified first.
    ///   - caller: The reading thread, if its death ends the wait.
    ///   - isReader: Whether a reader of a file waits, not a command that prefetches.
    ///   - since: The time at which the wait began.
    package init(
      _ reply: Reply,
      _ range: Range<Int64>,
      needsWhole: Bool,
      caller: Int32?,
      isReader: Bool,
      since: ContinuousClock.Instant
    ) {
      self.reply = reply
      self.range = range
      self.needsWhole = needsWhole
      self.caller = caller
      self.isReader = isReader
      self.since = since
    }

    /// Returns the bytes that must be present before the waiter is answered.
    ///
    /// - Parameter size: The size of the blob in bytes.
    package func needed(of size: Int64) -> Range<Int64> { needsWhole ? 0..<size : range }
  }

  /// The waiters, the longest wait first.
  package private(set) var all: [Waiter] = []

  /// Creates an empty collection.
  package init() {}

  package var isEmpty: Bool { all.isEmpty }

  /// Adds a waiter after the others.
  ///
  /// - Parameter waiter: The waiter.
  package mutating func add(_ waiter: Waiter) { all.append(waiter) }

  /// Removes and returns the waiters whose wait is over.
  ///
  /// - Parameter isOver: Called once for each waiter, in order.
  package mutating func take(where isOver: (Waiter) -> Bool) -> [Waiter] {
    guard !all.isEmpty else { return [] }
    var taken: [Waiter] = []
    var left: [Waiter] = []
    for waiter in all {
      if isOver(waiter) { taken.append(waiter) } else { left.append(waiter) }
    }
    // Most calls remove no waiter.
    if !taken.isEmpty { all = left }
    return taken
  }
}
