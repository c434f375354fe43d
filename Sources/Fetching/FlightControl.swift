import Content
import Locking

/// What one request is to bring, which others may change while it is under way, and what became of it.
final class FlightControl: Sendable {
  private struct State {
    var purpose: FlightQueue.Purpose
    /// Bytes that it brings now, of what is under way.
    var range: Range<Int64> = 0..<0
    /// Up to here they came.
    var position: Int64 = 0
    var begun: ContinuousClock.Instant?
    /// Bytes of the last seconds, and the rate of those before, bytes a second.
    var window: (since: ContinuousClock.Instant, bytes: Int64)?
    var lastRate: Double?
    var isWidened = false
    var isNearEnd = false
    var hasDeclined = false
    var failure: ContentError?
  }

  private let state: Mutex<State>
  /// The bytes are not to come over a connection that was used before.
  let wantsNewConnection: Bool
  /// It fetches again what a slow request has not brought yet: its own failure is nobody's.
  let isHedge: Bool

  init(_ purpose: FlightQueue.Purpose, wantsNewConnection: Bool, isHedge: Bool = false) {
    state = Mutex(State(purpose: purpose))
    self.isHedge = isHedge
    self.wantsNewConnection = wantsNewConnection
  }

  var purpose: FlightQueue.Purpose { state.withLock { $0.purpose } }
  /// It brings the blob from its start: the source knows no ranges.
  var isWidened: Bool { state.withLock { $0.isWidened } }
  /// The stream was ended because nobody wanted more of it.
  var hasDeclined: Bool { state.withLock { $0.hasDeclined } }
  var failure: ContentError? { state.withLock { $0.failure } }

  /// A request for these bytes is about to be sent.
  func begin(_ range: Range<Int64>) {
    state.withLock { state in
      state.range = range
      state.position = range.lowerBound
      state.begun = .now
      state.window = (.now, 0)
      state.lastRate = nil
    }
  }

  /// How long a rate is measured.
  static let rateWindow: Duration = .seconds(5)

  /// The rate of the last seconds, bytes a second; nil where it has not run for so long.
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

  /// Ends the request early, at bytes that somebody waits for who would wait too long for them here.
  ///
  /// - Parameters:
  ///   - offset: the first byte that is not to come.
  ///   - distance: bytes still before it that make it worth while.
  ///   - time: how long they must be expected to take, by what came so far.
  /// - Returns: false where it goes on as it was.
  func cut(at offset: Int64, ifFartherThan distance: Int64, andLaterThan time: Duration) -> Bool {
    state.withLock { state in
      // One that still waits for what another process brings can give up any of its own.
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

  /// What to do with bytes that came.
  enum Verdict {
    /// So many are taken.
    case take(Int)
    /// They lie outside of what was asked for, for the first time: the source knows no ranges.
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
      // What is behind the end may have been asked for before a cut.
      guard offset >= state.range.lowerBound else {
        state.isWidened = true
        return .widen
      }
      let taken = min(Int64(count), max(0, state.range.upperBound - offset))
      state.position = max(state.position, offset + taken)
      return .take(Int(taken))
    }
  }

  /// Whether little is left of it, for the first time.
  ///
  /// - Parameter distance: bytes that come while the next request is on its way.
  /// - Returns: true once.
  func comesToEnd(within distance: Int64) -> Bool {
    state.withLock { state in
      guard !state.isWidened, !state.isNearEnd, state.range.upperBound - state.position <= distance else {
        return false
      }
      state.isNearEnd = true
      return true
    }
  }

  /// Whether so little is asked for that a reader's part of it may arrive long before the end.
  var isSmall: Bool { state.withLock { !$0.isWidened && $0.range.count <= Self.smallRequest } }

  // A few blocks, as of a read at random.
  private static let smallRequest = 256 << 10

  /// Every byte that it is to bring came.
  var isAtEnd: Bool { state.withLock { !$0.isWidened && $0.position >= $0.range.upperBound } }

  func decline() { state.withLock { $0.hasDeclined = true } }
  func fail(_ error: ContentError) { state.withLock { $0.failure = error } }
}
