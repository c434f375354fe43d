/// Whether and when a failed request is sent again.
package struct RetryPolicy: Sendable {
  /// How many times in all a request is sent.
  package var attempts = 5
  package var firstDelay: Duration = .milliseconds(200)
  package var longestDelay: Duration = .seconds(20)

  /// Makes the usual policy.
  package init() {}

  /// How long to wait before the next attempt.
  ///
  /// - Parameters:
  ///   - attempt: the number of the attempt that failed, from 1.
  ///   - retryAfter: what the server asked for.
  ///   - random: from 0 to 1; spreads clients that failed at the same moment.
  /// - Returns: nil where it is not to be tried again.
  package func delay(afterAttempt attempt: Int, retryAfter: Duration?, random: Double) -> Duration? {
    guard attempt < attempts else { return nil }
    if let retryAfter {
      // A server that asks for minutes is not waited for by somebody who reads.
      return retryAfter <= .seconds(60) ? retryAfter : nil
    }
    let full = min(firstDelay * (1 << min(attempt - 1, 10)), longestDelay)
    return full / 2 + full * (random / 2)
  }

  /// Whether a status may be gone at the next attempt.
  ///
  /// - Parameter status: of a response.
  /// - Returns: true if so.
  package static func isTransient(_ status: Int) -> Bool {
    status == 408 || status == 429 || status >= 500
  }
}
