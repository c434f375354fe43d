import Locking

/// The last failed operations of this process, for `weightfs status`.
final class RecentFailures: Sendable {
  static let shared = RecentFailures()

  /// One failed operation.
  struct Failure: Sendable {
    let instant: ContinuousClock.Instant
    let operation: String
    let path: String
    let errno: String
    let reason: String
  }

  private let failures = Mutex<[Failure]>([])
  private static let limit = 20

  func note(operation: String, path: String, errno: String, reason: String) {
    let failure = Failure(
      instant: .now,
      operation: operation,
      path: path,
      errno: errno,
      reason: reason
    )
    failures.withLock { failures in
      // A reader that tries again fails again: the newest failure of a file replaces the one before it.
      failures.removeAll { $0.operation == operation && $0.path == path && $0.errno == errno }
      failures.append(failure)
      if failures.count > Self.limit { failures.removeFirst() }
    }
  }

  /// The failures, newest first.
  var all: [Failure] { failures.withLock { $0.reversed() } }
}
