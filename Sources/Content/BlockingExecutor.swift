import Dispatch
import Locking

/// Runs work that waits for a disk, or for bytes that a parser pulls, away from the cooperative pool.
///
/// Work that waits for other work must not share an executor with it: there are only so many threads.
package final class BlockingExecutor: Sendable {
  private struct State {
    var idle: [Int]
    var waiting: [@Sendable () -> Void] = []
  }

  // A serial queue has a thread of its own while it is busy; Dispatch gives a concurrent queue no more threads than
  // there are cores, whether they wait or work.
  private let workers: [DispatchQueue]
  private let state: Mutex<State>

  /// Makes an executor; its threads exist while they are busy.
  ///
  /// - Parameters:
  ///   - label: names the threads.
  ///   - threads: how much may wait at once, at least 1.
  package init(label: String, threads: Int) {
    workers = (0..<threads).map { DispatchQueue(label: "\(label).\($0)") }
    state = Mutex(State(idle: Array((0..<threads).reversed())))
  }

  /// Runs work and waits for it without holding a thread of the pool.
  ///
  /// - Parameter body: may block.
  /// - Throws: what the work throws.
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

  /// Asks the disk something that cannot fail, and waits without holding a thread of the pool.
  ///
  /// - Parameter body: may block.
  /// - Returns: what it says.
  package func ask<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in start { continuation.resume(returning: body()) } }
  }

  /// Starts work that nobody waits for.
  ///
  /// - Parameter body: may block.
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
