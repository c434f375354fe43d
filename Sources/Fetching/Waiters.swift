/// The waiters of a blob, in the order in which they came.
///
/// Pure: the caller says which waits are over, and answers the waiters that are taken out.
package struct Waiters<Reply: Sendable>: Sendable {
  /// A reply that waits for bytes.
  package struct Waiter: Sendable {
    package let reply: Reply
    /// Bytes to answer with; empty for none.
    package let range: Range<Int64>
    /// Every byte of the blob has to be verified first.
    package let needsWhole: Bool
    /// The thread that reads, where its end should end the wait.
    package let caller: Int32?
    /// A read of a file, in place of a command that fetches ahead.
    package let isReader: Bool
    package let since: ContinuousClock.Instant

    /// Makes a waiter.
    ///
    /// - Parameters:
    ///   - reply: answered once the wait is over.
    ///   - range: bytes to answer with.
    ///   - needsWhole: every byte of the blob has to be verified first.
    ///   - caller: the thread that reads, where its end should end the wait.
    ///   - isReader: a read of a file, in place of a command that fetches ahead.
    ///   - since: the time at which the wait began.
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

    /// The bytes that have to be present before it is answered.
    ///
    /// - Parameter size: of the blob, bytes.
    package func needed(of size: Int64) -> Range<Int64> { needsWhole ? 0..<size : range }
  }

  /// The waiters, the longest wait first.
  package private(set) var all: [Waiter] = []

  /// Makes an empty collection.
  package init() {}

  package var isEmpty: Bool { all.isEmpty }

  /// Adds a waiter behind the others.
  ///
  /// - Parameter waiter: to add.
  package mutating func add(_ waiter: Waiter) { all.append(waiter) }

  /// Removes and returns the waiters whose wait is over.
  ///
  /// - Parameter isOver: asked once of each, in order.
  package mutating func take(where isOver: (Waiter) -> Bool) -> [Waiter] {
    guard !all.isEmpty else { return [] }
    var taken: [Waiter] = []
    var left: [Waiter] = []
    for waiter in all {
      if isOver(waiter) { taken.append(waiter) } else { left.append(waiter) }
    }
    // Most calls take none.
    if !taken.isEmpty { all = left }
    return taken
  }
}
