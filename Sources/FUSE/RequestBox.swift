import Locking

/// A request that is answered by the first caller of `take`.
package final class RequestBox: Sendable {
  private let request: Mutex<FUSERequest?>
  /// The thread that sent the request.
  package let caller: Int32

  /// Stores a request to be answered later.
  package init(_ request: consuming FUSERequest) {
    caller = request.caller
    self.request = Mutex(request)
  }

  /// Returns the request to the first caller, then nil.
  package func take() -> FUSERequest? { request.withLock { $0.take() } }
}
