/// Those who wait for bytes of a blob, in the order in which they came.
///
/// Pure: what is here is told by the caller, and replies are answered by it once they are taken out.
package struct Waiters<Reply: Sendable>: Sendable {
  /// Somebody who waits.
  package struct Waiter: Sendable {
    /// The right to answer.
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

    /// The bytes that have to come before it is answered.
    ///
    /// - Parameter size: of the blob, bytes.
    package func needed(of size: Int64) -> Range<Int64> { needsWhole ? 0..<size : range }
  }

  /// Who waits, the first to come first.
  package private(set) var all: [Waiter] = []

  /// Nobody.
  package init() {}

  package var isEmpty: Bool { all.isEmpty }

  /// Lets somebody wait.
  ///
  /// - Parameters:
  ///   - reply: the right to answer.
  ///   - range: bytes to answer with.
  ///   - needsWhole: whether every byte of the blob has to be verified first.
  ///   - caller: the thread that reads, where its end should end the wait.
  ///   - isReader: a read of a file, in place of a command that fetches ahead.
  ///   - now: the time.
  package mutating func add(
    _ reply: Reply,
    _ range: Range<Int64>,
    needsWhole: Bool,
    caller: Int32?,
    isReader: Bool,
    now: ContinuousClock.Instant
  ) {
    all.append(
      Waiter(
        reply: reply,
        range: range,
        needsWhole: needsWhole,
        caller: caller,
        isReader: isReader,
        since: now
      )
    )
  }

  /// Takes those out whose wait is over.
  ///
  /// - Parameter isOver: asked once of each, in order.
  package mutating func take(where isOver: (Waiter) -> Bool) -> [Waiter] {
    guard !all.isEmpty else { return [] }
    var taken: [Waiter] = []
    var left: [Waiter] = []
    for waiter in all {
      if isOver(waiter) { taken.append(waiter) } else { left.append(waiter) }
    }
    // Most often nobody's bytes came.
    if !taken.isEmpty { all = left }
    return taken
  }
}
