import Glibc
import Locking

/// Limits the rate of a reader by blocking it.
final class RateLimit: Sendable {
  private let bytesPerSecond: Double
  private let start = ContinuousClock.now
  private let done = Atomic<Int64>(0)

  init(bytesPerSecond: Int64) { self.bytesPerSecond = Double(bytesPerSecond) }

  /// Blocks for the time that `count` bytes take at the rate.
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
