import Locking

/// Admits one message of each kind per interval, and counts the others.
///
/// Without it, a program that continues to read after an error would cause thousands of identical messages.
package final class MessageLimiter: Sendable {
  private struct Entry {
    var next: ContinuousClock.Instant
    var suppressed = 0
  }

  private struct State {
    var entries: [String: Entry] = [:]
    /// Number of messages of all kinds in the current interval.
    var burst: (since: ContinuousClock.Instant, count: Int)?
  }

  private let interval: Duration
  private let burstLimit: Int
  private let state = Mutex(State())

  // When this number of kinds is exceeded, the entries are cleared.
  private static let limit = 4096

  /// Creates a limiter.
  ///
  /// - Parameters:
  ///   - interval: The interval in which one message of each kind is admitted.
  ///   - burstLimit: The maximum number of messages of all kinds per interval.
  package init(interval: Duration = .seconds(60), burstLimit: Int = 100) {
    self.interval = interval
    self.burstLimit = burstLimit
  }

  /// Decides whether a message is admitted.
  ///
  /// - Parameters:
  ///   - kind: what makes two messages one.
  ///   - interval: in which no other message of the kind is let through; nil for the limiter's own.
  ///   - now: the time.
  /// - Returns: how many of the kind were held back since the last one; nil where this one is.
  package func admit(
    _ kind: String,
    interval: Duration? = nil,
    now: ContinuousClock.Instant = .now
  ) -> Int? {
    state.withLock { state in
      if var entry = state.entries[kind], entry.next > now {
        entry.suppressed += 1
        state.entries[kind] = entry
        return nil
      }
      var burst = state.burst ?? (now, 0)
      if now - burst.since > self.interval { burst = (now, 0) }
      burst.count += 1
      state.burst = burst
      guard burst.count <= burstLimit else { return nil }
      if state.entries.count >= Self.limit { state.entries = [:] }
      let suppressed = state.entries[kind]?.suppressed ?? 0
      state.entries[kind] = Entry(next: now + (interval ?? self.interval))
      return suppressed
    }
  }
}
