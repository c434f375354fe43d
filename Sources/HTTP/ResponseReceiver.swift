/// Receives a response on the transfer thread.
///
/// The calls must not block for long.
package protocol ResponseReceiver: AnyObject, Sendable {
  /// Receives status and headers, after redirects.
  ///
  /// - Parameter response: The response without the body.
  /// - Returns: False to end the transfer.
  func receive(_ response: HTTPResponse) -> Bool

  /// Receives a piece of the body.
  ///
  /// - Parameter bytes: Valid for the duration of the call.
  /// - Returns: False to end the transfer.
  func receive(_ bytes: UnsafeRawBufferPointer) -> Bool

  /// Ends the response; called exactly once, as the last call.
  ///
  /// - Parameter error: nil if the response is complete.
  func finish(_ error: HTTPError?)

  /// Whether the transfer may be paused in favor of others from the same host; checked repeatedly.
  var canWait: Bool { get }
}

extension ResponseReceiver {
  package var canWait: Bool { false }
}
