import FUSE
import Fetching
import Glibc
import Locking

/// Requests that are answered asynchronously.
///
/// If the caller of a request is being killed, the request is ended early, so that a slow registry does not
/// delay the end of the process.
final class WaitingRequests: Sendable {
  private struct State {
    var next: UInt64 = 0
    var tasks: [UInt64: Waiting] = [:]
    var isWatched = false
  }

  private struct Waiting {
    let box: RequestBox
    let since: ContinuousClock.Instant
    let late: @Sendable (consuming FUSERequest) -> Void
    var task: Task<Void, Never>?
  }

  private let state = Mutex(State())
  private let deadline: Duration
  private static let interval: Duration = .milliseconds(200)

  /// - Parameter deadline: The maximum time of a request.
  init(deadline: Duration) { self.deadline = deadline }

  /// Starts the work for a request.
  ///
  /// - Parameters:
  ///   - box: The request; it is answered by the first caller that takes it.
  ///   - late: Answers the request when the deadline has passed.
  ///   - body: The work, which answers the request otherwise.
  func start(
    _ box: RequestBox,
    late: @escaping @Sendable (consuming FUSERequest) -> Void,
    _ body: @escaping @Sendable () async -> Void
  ) {
    let (identifier, isFirst) = state.withLock { state in
      state.next += 1
      state.tasks[state.next] = Waiting(box: box, since: .now, late: late)
      defer { state.isWatched = true }
      return (state.next, !state.isWatched)
    }
    let task = Task {
      await body()
      _ = self.state.withLock { $0.tasks.removeValue(forKey: identifier) }
    }
    state.withLock { state in
      if state.tasks[identifier] != nil { state.tasks[identifier]?.task = task }
    }
    if isFirst { watch() }
  }

  private func watch() {
    Task {
      while true {
        // A cancelled sleep ends the loop below.
        try? await Task.sleep(for: Self.interval)
        let (waiting, isOver) = state.withLock { state in
          if state.tasks.isEmpty { state.isWatched = false }
          return (state.tasks.values.map { $0 }, state.tasks.isEmpty)
        }
        if isOver { return }
        for request in waiting {
          let isLate = ContinuousClock.now - request.since > deadline
          guard isLate || (request.box.caller > 0 && CallerState.isBeingKilled(request.box.caller)) else {
            continue
          }
          if let open = request.box.take() { isLate ? request.late(open) : open.error(EINTR) }
          request.task?.cancel()
        }
      }
    }
  }
}
