/// Whether and when a failed request is sent again.
package struct RetryPolicy: Sendable {
  /// What a request is for, which says how long it may be tried.
  package enum Patience: Sendable {
    /// A name is looked up: somebody waits for an answer that may be no.
    case lookUp
    /// Somebody waits for bytes.
    case read
    /// Nobody waits.
    case background
  }

  /// How long a read is tried at an endpoint that refuses, resets or answers with errors, since its last byte.
  package var retryFor: Duration = .seconds(60)
  package var firstDelay: Duration = .milliseconds(200)
  /// Short enough that a reader notices soon that an endpoint is well again.
  package var longestDelay: Duration = .seconds(5)

  // A look-up has a quarter of a read's time, the background ten times of it.
  private static let lookUpShare = 4
  private static let backgroundFactor = 10

  /// Makes the usual policy.
  package init() {}

  private func limit(_ patience: Patience) -> Duration {
    switch patience {
    case .lookUp: retryFor / Self.lookUpShare
    case .read: retryFor
    case .background: retryFor * Self.backgroundFactor
    }
  }

  /// How long to wait before the next attempt.
  ///
  /// - Parameters:
  ///   - attempt: the number of the attempt that failed, from 1.
  ///   - elapsed: since the request first failed after its last progress.
  ///   - patience: what the request is for.
  ///   - retryAfter: what the server asked for.
  ///   - random: from 0 to 1; spreads clients that failed at the same moment.
  /// - Returns: nil where it is not to be tried again.
  package func delay(
    afterAttempt attempt: Int,
    elapsed: Duration,
    patience: Patience,
    retryAfter: Duration?,
    random: Double
  ) -> Duration? {
    let full = min(firstDelay * (1 << min(attempt - 1, 10)), longestDelay)
    let usual = full / 2 + full * (random / 2)
    // Nobody who waits for nothing presses a server that is asked too much.
    let asked = retryAfter.map { patience == .background ? $0 * 2 : $0 }
    let delay = max(asked ?? usual, retryAfter == nil ? .zero : firstDelay / 2)
    return elapsed + delay <= limit(patience) ? delay : nil
  }

  /// Whether a status may be gone at the next attempt.
  ///
  /// - Parameter status: of a response.
  /// - Returns: true for 408, 429 and most of 5xx.
  package static func isTransient(_ status: Int) -> Bool {
    status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505)
  }
}
