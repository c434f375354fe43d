import Glibc
import Locking

/// Keeps a reader below a rate, by letting it sleep.
final class RateLimit: Sendable {
  private let bytesPerSecond: Double
  private let start = ContinuousClock.now
  private let done = Atomic<Int64>(0)

  init(bytesPerSecond: Int64) { self.bytesPerSecond = Double(bytesPerSecond) }

  /// Blocks as long as so many bytes more take at the rate.
  func wait(for count: Int64) {
    let total = done.add(count, ordering: .relaxed).newValue
    let due = start + .seconds(Double(total) / bytesPerSecond)
    while true {
      let left = due - ContinuousClock.now
      guard left > .zero else { return }
      usleep(UInt32(min(left / .microseconds(1), 999_999)))
    }
  }
}
