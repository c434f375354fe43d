import Artifacts
import Content
import Glibc

/// The progress of long-running work: on a terminal one line that is updated, elsewhere plain lines at
/// intervals.
struct Progress {
  private let label: String
  private let total: Int64
  private let start = ContinuousClock.now
  private let startBytes: Int64
  private var lastPrinted: ContinuousClock.Instant
  private let isInteractive = Terminal.isInteractive

  init(label: String, total: Int64, done: Int64) {
    self.label = label
    self.total = total
    startBytes = done
    lastPrinted = start
  }

  mutating func update(_ done: Int64) {
    let now = ContinuousClock.now
    guard now - lastPrinted >= (isInteractive ? .milliseconds(200) : .seconds(10)) else { return }
    lastPrinted = now
    let line = text(done, now)
    Terminal.write(isInteractive ? "\r\u{1b}[K\(line)" : "\(line)\n", to: STDERR_FILENO)
  }

  func finish(_ done: Int64) {
    let line = text(done, ContinuousClock.now)
    Terminal.write(isInteractive ? "\r\u{1b}[K\(line)\n" : "\(line)\n", to: STDERR_FILENO)
  }

  private func text(_ done: Int64, _ now: ContinuousClock.Instant) -> String {
    let (whole, fraction) = (now - start).components
    let seconds = Double(whole) + Double(fraction) / 1e18
    let rate = seconds > 0 ? Double(done - startBytes) / seconds : 0
    let share = total > 0 ? Int(Double(done) / Double(total) * 100) : 100
    var line =
      "\(label): \(ByteSize.text(done)) of \(ByteSize.text(total)) (\(share)%), \(ByteSize.text(Int64(rate)))/s"
    if done < total, rate > 0 {
      let left = Int(Double(total - done) / rate)
      line += left >= 60 ? ", \(left / 60) min \(left % 60) s left" : ", \(left) s left"
    }
    return line
  }

  /// A progress that is being displayed.
  private struct Display: WorkDisplay {
    let task: Task<Void, Never>

    func end() async {
      task.cancel()
      await task.value
    }
  }

  /// Displays the progress of work until the display is ended; no final line is printed if nothing was
  /// missing.
  static func show(_ work: Work) -> any WorkDisplay {
    Display(
      task: Task {
        var progress = Progress(label: work.label, total: work.total, done: work.total - work.missing)
        while !Task.isCancelled {
          // An error means that the task was cancelled as the work has ended; the loop condition checks that.
          try? await Task.sleep(for: .milliseconds(200))
          progress.update(work.done())
        }
        if work.missing > 0 { progress.finish(work.done()) }
      }
    )
  }
}
