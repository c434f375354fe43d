import Locking

/// The distribution of durations, in buckets that double from a millisecond to about two minutes.
package final class Histogram: Metric {
  package let name: String
  package let help: String
  private let state = Mutex(State())

  private struct State {
    var counts = [UInt64](repeating: 0, count: Histogram.bounds.count + 1)
    var sum = 0.0
  }

  // Seconds.
  private static let bounds = (0..<18).map { 0.001 * Double(1 << $0) }

  /// Creates an empty histogram.
  ///
  /// - Parameters:
  ///   - name: The name according to Prometheus' rules; it ends in `_seconds`.
  ///   - help: One line.
  package init(name: String, help: String) {
    self.name = name
    self.help = help
  }

  /// Adds a duration.
  package func observe(_ duration: Duration) {
    let (whole, fraction) = duration.components
    let seconds = Double(whole) + Double(fraction) / 1e18
    let bucket = Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count
    state.withLock { state in
      state.counts[bucket] += 1
      state.sum += seconds
    }
  }

  /// The number of durations.
  package var count: UInt64 { state.withLock { $0.counts.reduce(0, +) } }

  package var kind: String { "histogram" }

  package var samples: String {
    let (counts, sum) = state.withLock { ($0.counts, $0.sum) }
    var total: UInt64 = 0
    var text = ""
    for (index, count) in counts.enumerated() {
      total += count
      let bound = index < Self.bounds.count ? "\(Self.bounds[index])" : "+Inf"
      text += "\(name)_bucket{le=\"\(bound)\"} \(total)\n"
    }
    return text + "\(name)_sum \(sum)\n\(name)_count \(total)\n"
  }
}
