import Dispatch
import Glibc
import MountDaemon

/// Sends systemd a sign of life as long as the mount answers.
///
/// A child process reads through the mount, one at a time and with a time limit: the daemon never accesses its own mount,
/// as it would wait for itself.
final class Watchdog {
  private let timer: any DispatchSourceTimer

  /// Starts to watch.
  ///
  /// - Parameters:
  ///   - interval: The time after which systemd ends the service without a sign of life.
  ///   - mountPoint: The absolute path of the mount.
  ///   - notifier: Sends the sign.
  init(every interval: Duration, _ mountPoint: String, _ notifier: ServiceNotifier) {
    // sd_watchdog_enabled(3) recommends half of the interval.
    let milliseconds = max(500, Int(interval / .milliseconds(1)) / 2)
    let limit = max(1, milliseconds / 1000)
    let timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "weightfs.watchdog"))
    timer.setEventHandler {
      // A failed or late check sends nothing, so that systemd ends the service.
      if (try? Subprocess.readThrough(mountPoint, limit: .seconds(limit))) == 0 {
        notifier.send("WATCHDOG=1")
      }
    }
    timer.schedule(deadline: .now(), repeating: .milliseconds(milliseconds))
    timer.resume()
    self.timer = timer
  }

  deinit { timer.cancel() }
}
