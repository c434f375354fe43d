import Dispatch

/// Runs work that waits for a disk, or for bytes that a parser pulls, away from the cooperative pool.
package struct BlockingExecutor: Sendable {
  private let queue: DispatchQueue

  /// Makes an executor with threads of its own, made as they are needed.
  ///
  /// - Parameter label: names the threads.
  package init(label: String) {
    queue = DispatchQueue(label: label, attributes: .concurrent)
  }

  /// Runs work and waits for it without holding a thread of the pool.
  ///
  /// - Parameter body: may block.
  /// - Returns: what was asked for.
  /// - Throws: what the work throws.
  package func run<Value: Sendable>(
    _ body: @escaping @Sendable () throws(ContentError) -> Value
  ) async throws(ContentError) -> Value {
    let result: Result<Value, ContentError> = await withCheckedContinuation { continuation in
      queue.async {
        do throws(ContentError) {
          continuation.resume(returning: .success(try body()))
        } catch {
          continuation.resume(returning: .failure(error))
        }
      }
    }
    return try result.get()
  }

  /// Starts work that nobody waits for.
  ///
  /// - Parameter body: may block.
  package func start(_ body: @escaping @Sendable () -> Void) {
    queue.async(execute: DispatchWorkItem(block: body))
  }
}
