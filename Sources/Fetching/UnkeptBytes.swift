import Content
import OCI
import Locking

/// The bytes of a blob that do not fit on the disk: a few windows in memory, so that a sequential reader
/// fetches each byte once and not once for each of the kernel's requests.
///
/// All blobs of a process share a bounded amount of memory; beyond it, a read fetches only its own range.
final class UnkeptBytes: Sendable {
  /// The memory limit for the windows of all blobs of a process.
  final class Budget: Sendable {
    private let limit: Int64
    private let used = Mutex<Int64>(0)

    init(limit: Int64) { self.limit = limit }

    func take(_ count: Int64) -> Bool {
      used.withLock { used in
        guard used + count <= limit else { return false }
        used += count
        return true
      }
    }

    func giveBack(_ count: Int64) { used.withLock { $0 -= count } }
  }

  typealias Fetch = @Sendable (Range<Int64>) async throws(ContentError) -> [UInt8]

  private struct Window {
    let range: Range<Int64>
    let task: Task<Result<[UInt8], ContentError>, Never>
    var lastUse: ContinuousClock.Instant
  }

  private struct State {
    var windows: [Window] = []
    /// The ends of the last reads: a read that starts near one of them continues it.
    var ends: [Int64] = []
  }

  // Large enough to hide the latency of a request, small enough for a reader that jumps.
  private static let windowSize: Int64 = 4 << 20
  private static let windowLimit = 3
  // The kernel's requests for one reader arrive out of order.
  private static let nearness: Int64 = 2 << 20
  private static let endLimit = 8

  private let size: Int64
  private let budget: Budget
  private let state = Mutex(State())

  init(size: Int64, budget: Budget) {
    self.size = size
    self.budget = budget
  }

  deinit {
    let held = state.withLock { $0.windows.reduce(Int64(0)) { $0 + Int64($1.range.count) } }
    budget.giveBack(held)
  }

  /// Returns the bytes of a range, from a window or by a request.
  func bytes(_ range: Range<Int64>, _ fetch: @escaping Fetch) async throws(ContentError) -> [UInt8] {
    guard let window = window(over: range, fetch) else { return try await fetch(range) }
    let result = await window.task.value
    switch result {
    case .success(let bytes):
      let first = Int(range.lowerBound - window.range.lowerBound)
      return Array(bytes[first..<first + range.count])
    case .failure(let error):
      remove(window.range)
      throw error
    }
  }

  /// Returns all bytes of a blob that fits into one window, from memory or by a request.
  func whole(
    _ fetch: @escaping @Sendable () async throws(ContentError) -> [UInt8]
  ) async throws(ContentError) -> [UInt8] {
    let all = 0..<size
    let known = state.withLock { $0.windows.first { $0.range == all }?.task }
    let task: Task<Result<[UInt8], ContentError>, Never>
    if let known {
      task = known
    } else {
      guard budget.take(size) else { return try await fetch() }
      task = Task { () async -> Result<[UInt8], ContentError> in
        do throws(ContentError) {
          return .success(try await fetch())
        } catch {
          return .failure(error)
        }
      }
      let others = state.withLock { state in
        defer { state.windows = [Window(range: all, task: task, lastUse: .now)] }
        return state.windows.reduce(Int64(0)) { $0 + Int64($1.range.count) }
      }
      budget.giveBack(others)
    }
    switch await task.value {
    case .success(let bytes): return bytes
    case .failure(let error):
      remove(all)
      throw error
    }
  }

  /// Returns the window of a range, or a new one if the read continues an earlier one; nil for a read that
  /// jumps.
  private func window(over range: Range<Int64>, _ fetch: @escaping Fetch) -> Window? {
    let now = ContinuousClock.now
    return state.withLock { state in
      let goesOn =
        range.lowerBound == 0 || state.ends.contains { abs($0 - range.lowerBound) <= Self.nearness }
      state.ends.append(range.upperBound)
      if state.ends.count > Self.endLimit { state.ends.removeFirst() }
      if let index = state.windows.firstIndex(where: {
        $0.range.lowerBound <= range.lowerBound && range.upperBound <= $0.range.upperBound
      }) {
        state.windows[index].lastUse = now
        return state.windows[index]
      }
      guard goesOn else { return nil }
      // Windows do not overlap, so that no byte is fetched twice.
      let start = state.windows.map(\.range).first { $0.contains(range.lowerBound) }?.lowerBound
      guard start == nil else { return nil }
      let end = state.windows.map(\.range.lowerBound).filter { $0 > range.lowerBound }.min() ?? size
      let whole = range.lowerBound..<max(range.upperBound, min(range.lowerBound + Self.windowSize, end, size))
      while state.windows.count >= Self.windowLimit {
        guard
          let oldest = state.windows.indices.min(by: { state.windows[$0].lastUse < state.windows[$1].lastUse }
          )
        else { break }
        budget.giveBack(Int64(state.windows.remove(at: oldest).range.count))
      }
      guard budget.take(Int64(whole.count)) else { return nil }
      let task = Task { () async -> Result<[UInt8], ContentError> in
        do throws(ContentError) {
          return .success(try await fetch(whole))
        } catch {
          return .failure(error)
        }
      }
      let made = Window(range: whole, task: task, lastUse: now)
      state.windows.append(made)
      return made
    }
  }

  private func remove(_ range: Range<Int64>) {
    state.withLock { state in
      guard let index = state.windows.firstIndex(where: { $0.range == range }) else { return }
      state.windows.remove(at: index)
      budget.giveBack(Int64(range.count))
    }
  }
}
