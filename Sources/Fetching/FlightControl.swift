import Content
import Locking

/// The range of one request, which other threads may change during the flight, and its progress and outcome.
final class FlightControl: Sendable {
  private struct State {
    var purpose: FlightQueue.Purpose
    /// The bytes of the current request.
    var range: Range<Int64> = 0..<0
    /// The end of the bytes that arrived.
    var position: Int64 = 0
    var begun: ContinuousClock.Instant?
    /// The start and the bytes of the current measurement, and the rate of the last one in bytes per second.
    var window: (since: ContinuousClock.Instant, bytes: Int64)?
    var lastRate: Double?
    var isWidened = false
    var isNearEnd = false
    var hasDeclined = false
    var failure: ContentError?
  }

  private let state: Mutex<State>
  /// Whether only new connections are used.
  let wantsNewConnection: Bool
  /// Whether the flight repeats a slow request; its own failure does not reach the waiters.
  let isHedge: Bool

  init(_ purpose: FlightQueue.Purpose, wantsNewConnection: Bool, isHedge: Bool = false) {
    state = Mutex(State(purpose: purpose))
    self.isHedge = isHedge
    self.wantsNewConnection = wantsNewConnection
  }

  var purpose: FlightQueue.Purpose { state.withLock { $0.purpose } }
  /// Whether the flight receives the blob from its start: the source does not support ranges.
  var isWidened: Bool { state.withLock { $0.isWidened } }
  /// Whether the stream was ended because no waiter needs more of it.
  var hasDeclined: Bool { state.withLock { $0.hasDeclined } }
  var failure: ContentError? { state.withLock { $0.failure } }

  /// Notes that a request for a range is about to be sent.
  func begin(_ range: Range<Int64>) {
    state.withLock { state in
      state.range = range
      state.position = range.lowerBound
      state.begun = .now
      state.window = (.now, 0)
      state.lastRate = nil
    }
  }

  /// The duration of one measurement of the rate.
  static let rateWindow: Duration = .seconds(5)

  /// Returns the current rate in bytes per second, or nil if the first measurement is not complete.
  func rate(at now: ContinuousClock.Instant) -> Double? {
    state.withLock { state in
      guard let window = state.window else { return nil }
      let time = now - window.since
      return time >= Self.rateWindow ? Double(window.bytes) / (time / .seconds(1)) : state.lastRate
    }
  }

  func promote(to purpose: FlightQueue.Purpose) {
    state.withLock { $0.purpose = min($0.purpose, purpose) }
  }

  /// Ends the request early, before bytes for which a waiter would wait too long.
  ///
  /// - Parameters:
  ///   - offset: The first byte that is no longer fetched.
  ///   - distance: The minimum number of remaining bytes before `offset` for a cut.
  ///   - time: The minimum time that those bytes must be expected to take at the current rate.
  /// - Returns: Whether the request was cut.
  func cut(at offset: Int64, ifFartherThan distance: Int64, andLaterThan time: Duration) -> Bool {
    state.withLock { state in
      // A flight that waits for another process can give up any of its own bytes.
      if state.range.isEmpty, !state.isWidened { return true }
      let left = offset - state.position
      guard !state.isWidened, state.range.contains(offset), left > distance, let begun = state.begun else {
        return false
      }
      let elapsed = (ContinuousClock.now - begun) / .seconds(1)
      let rate = Double(max(1, state.position - state.range.lowerBound)) / max(elapsed, 0.001)
      guard Double(left) / rate > time / .seconds(1) else { return false }
      state.range = state.range.lowerBound..<offset
      return true
    }
  }

  /// The action for bytes that arrived.
  enum Verdict {
    /// This many bytes are accepted.
    case take(Int)
    /// The bytes are before the requested range, for the first time: the source does not support ranges.
    case widen
  }

  func judge(_ offset: Int64, _ count: Int) -> Verdict {
    let now = ContinuousClock.now
    return state.withLock { state in
      if let window = state.window {
        let time = now - window.since
        if time >= Self.rateWindow {
          state.lastRate = Double(window.bytes) / (time / .seconds(1))
          state.window = (now, Int64(count))
        } else {
          state.window?.bytes += Int64(count)
        }
      }
      if state.isWidened { return .take(count) }
      // Bytes after the end may have been requested before a cut.
      guard offset >= state.range.lowerBound else {
        state.isWidened = true
        return .widen
      }
      let taken = min(Int64(count), max(0, state.range.upperBound - offset))
      state.position = max(state.position, offset + taken)
      return .take(Int(taken))
    }
  }

  /// Returns whether few bytes are left; true only once.
  ///
  /// - Parameter distance: The number of bytes that arrive while the next request is being sent.
  func comesToEnd(within distance: Int64) -> Bool {
    state.withLock { state in
      guard !state.isWidened, !state.isNearEnd, state.range.upperBound - state.position <= distance else {
        return false
      }
      state.isNearEnd = true
      return true
    }
  }

  /// Whether the request is so small that a reader's part of it may arrive long before the end.
  var isSmall: Bool { state.withLock { !$0.isWidened && $0.range.count <= Self.smallRequest } }

  // The maximum size of a small request in bytes: a few blocks, as for random reads.
  private static let smallRequest = 256 << 10

  /// Whether every byte of the range has arrived.
  var isAtEnd: Bool { state.withLock { !$0.isWidened && $0.position >= $0.range.upperBound } }

  func decline() { state.withLock { $0.hasDeclined = true } }
  func fail(_ error: ContentError) { state.withLock { $0.failure = error } }
}
