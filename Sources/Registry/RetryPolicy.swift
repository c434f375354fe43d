/// Determines whether and when a failed request is sent again.
package struct RetryPolicy: Sendable {
  /// The purpose of a request, which limits how long it is retried.
  package enum Patience: Sendable {
    /// A name lookup: the caller waits for an answer, which may be negative.
    case lookUp
    /// A reader waits for bytes.
    case read
    /// No reader waits.
    case background
  }

  /// How long a read is retried at an endpoint that refuses, resets or answers with errors, since its last
  /// byte.
  package var retryFor: Duration = .seconds(60)
  package var firstDelay: Duration = .milliseconds(200)
  /// The longest delay; short enough for a reader to notice soon that an endpoint has recovered.
  package var longestDelay: Duration = .seconds(5)

  // The retry time of a lookup is a quarter of a read's, that of the background ten times a read's.
  private static let lookUpShare = 4
  private static let backgroundFactor = 10

  /// Creates the default policy.
  package init() {}

  private func limit(_ patience: Patience) -> Duration {
    switch patience {
    case .lookUp: retryFor / Self.lookUpShare
    case .read: retryFor
    case .background: retryFor * Self.backgroundFactor
    }
  }

  /// Returns the delay before the next attempt, or nil if the request must not be retried.
  ///
  /// - Parameters:
  ///   - attempt: The number of the failed attempt, starting at 1.
  ///   - elapsed: The time since the first failure after the last progress.
  ///   - patience: The purpose of the request.
  ///   - retryAfter: The delay that the server requested; nil for none.
  ///   - random: A number from 0 to 1; spreads clients that failed at the same moment.
  package func delay(
    afterAttempt attempt: Int,
    elapsed: Duration,
    patience: Patience,
    retryAfter: Duration?,
    random: Double
  ) -> Duration? {
    let full = min(firstDelay * (1 << min(attempt - 1, 10)), longestDelay)
    let usual = full / 2 + full * (random / 2)
    // A background request waits twice as long as a throttling server requests.
    let asked = retryAfter.map { patience == .background ? $0 * 2 : $0 }
    let delay = max(asked ?? usual, retryAfter == nil ? .zero : firstDelay / 2)
    return elapsed + delay <= limit(patience) ? delay : nil
  }

  /// Returns whether a status may change at the next attempt: 408, 429 and most of 5xx.
  ///
  /// - Parameter status: The status of a response.
  package static func isTransient(_ status: Int) -> Bool {
    status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505)
  }
}
