import Locking

/// A request that is answered by whoever takes it first.
package final class RequestBox: Sendable {
  private let request: Mutex<FUSERequest?>
  /// The thread that asked.
  package let caller: Int32

  /// Keeps a request.
  ///
  /// - Parameter request: to be answered later.
  package init(_ request: consuming FUSERequest) {
    caller = request.caller
    self.request = Mutex(request)
  }

  /// The request, for the first who asks.
  package func take() -> FUSERequest? { request.withLock { $0.take() } }
}
