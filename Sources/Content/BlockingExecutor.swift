import Dispatch
import Locking

/// Runs blocking work, such as disk access or a parser that waits for bytes, outside of the cooperative
/// thread pool.
///
/// The number of threads is fixed, so work must not wait for other work on the same executor: that could
/// deadlock.
package final class BlockingExecutor: Sendable {
  private struct State {
    var idle: [Int]
    var waiting: [@Sendable () -> Void] = []
  }

  // A serial queue has its own thread while it is busy. A concurrent queue gets at most as many threads as
  // there are
  // cores, even if those threads are blocked.
  private let workers: [DispatchQueue]
  private let state: Mutex<State>

  /// Creates an executor; a thread exists only while it is busy.
  ///
  /// - Parameters:
  ///   - label: The name of the threads.
  ///   - threads: The number of threads, at least 1.
  package init(label: String, threads: Int) {
    workers = (0..<threads).map { DispatchQueue(label: "\(label).\($0)") }
    state = Mutex(State(idle: Array((0..<threads).reversed())))
  }

  /// Runs work and waits for its result without blocking a thread of the cooperative pool.
  ///
  /// - Parameter body: May block.
  /// - Throws: The error of the work.
  package func run<Value: Sendable>(
    _ body: @escaping @Sendable () throws(ContentError) -> Value
  ) async throws(ContentError) -> Value {
    let result: Result<Value, ContentError> = await withCheckedContinuation { continuation in
      start {
        do throws(ContentError) {
          continuation.resume(returning: .success(try body()))
        } catch {
          continuation.resume(returning: .failure(error))
        }
      }
    }
    return try result.get()
  }

  /// Runs work that cannot fail, and waits for its result without blocking a thread of the cooperative pool.
  ///
  /// - Parameter body: May block.
  package func ask<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in start { continuation.resume(returning: body()) } }
  }

  /// Starts work without waiting for it.
  ///
  /// - Parameter body: May block.
  package func start(_ body: @escaping @Sendable () -> Void) {
    let worker = state.withLock { state -> Int? in
      if let worker = state.idle.popLast() { return worker }
      state.waiting.append(body)
      return nil
    }
    guard let worker else { return }
    workers[worker].async { self.work(worker, first: body) }
  }

  private func work(_ worker: Int, first: @Sendable () -> Void) {
    first()
    while true {
      let next = state.withLock { state -> (@Sendable () -> Void)? in
        if state.waiting.isEmpty {
          state.idle.append(worker)
          return nil
        }
        return state.waiting.removeFirst()
      }
      guard let next else { return }
      next()
    }
  }
}
