/// Takes a response as it comes, on the transfer thread.
///
/// None of the calls may block for long.
package protocol ResponseReceiver: AnyObject, Sendable {
  /// Takes status and headers, after redirects.
  ///
  /// - Parameter response: without the body.
  /// - Returns: false to end the transfer.
  func receive(_ response: HTTPResponse) -> Bool

  /// Takes a piece of the body.
  ///
  /// - Parameter bytes: valid for the duration of the call.
  /// - Returns: false to end the transfer.
  func receive(_ bytes: UnsafeRawBufferPointer) -> Bool

  /// Ends the response; called exactly once, last.
  ///
  /// - Parameter error: nil where the response is whole.
  func finish(_ error: HTTPError?)

  /// Whether the transfer may be halted while others of the same host run that may not; asked again and again.
  var canWait: Bool { get }
}

extension ResponseReceiver {
  package var canWait: Bool { false }
}
