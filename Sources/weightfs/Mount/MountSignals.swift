import Dispatch
import FileSystem
import Glibc
import Locking
import Logging
import MountDaemon

/// Handles the signals of a mount: SIGTERM and SIGINT unmount once no file is open, SIGHUP reads the configuration again.
final class MountSignals {
  private let sources: [any DispatchSourceSignal]

  // Seconds between two looks at the open files.
  private static let look = 0.05

  /// Starts to handle signals.
  ///
  /// - Parameters:
  ///   - mounted: The mount.
  ///   - fileSystem: Tells whether files are open.
  ///   - stopTimeout: The longest time to wait for open files; a second signal ends the wait.
  ///   - service: Tells systemd about the end; nil if it does not expect messages.
  ///   - log: Receives the result of a reload.
  ///   - reload: Reads the configuration again; returns the reason why that failed, or nil.
  init(
    _ mounted: MountedFileSystem,
    _ fileSystem: FileSystem,
    stopTimeout: Duration,
    _ service: ServiceNotifier?,
    _ log: Logger,
    reload: @escaping @Sendable () -> String?
  ) {
    let deadline = Mutex<ContinuousClock.Instant?>(nil)
    let queue = DispatchQueue(label: "weightfs.signals")
    @Sendable func stop() {
      let end = deadline.withLock { $0 } ?? .now
      if fileSystem.hasOpenFiles, .now < end {
        queue.asyncAfter(deadline: .now() + Self.look, execute: stop)
      } else {
        mounted.unmount()
      }
    }
    let ends = [SIGINT, SIGTERM].map { number in
      Self.source(number, queue) {
        let isFirst = deadline.withLock { known in
          defer { known = known == nil ? .now + stopTimeout : .now }
          return known == nil
        }
        service?.send("STOPPING=1")
        if isFirst { stop() }
      }
    }
    let hangUp = Self.source(SIGHUP, queue) {
      if let reason = reload() {
        log.error("the configuration is not taken over", metadata: ["reason": "\(reason)"])
      } else {
        log.notice("the configuration was read again")
      }
    }
    sources = ends + [hangUp]
  }

  deinit { for source in sources { source.cancel() } }

  private static func source(
    _ number: Int32,
    _ queue: DispatchQueue,
    _ handler: @escaping @Sendable () -> Void
  ) -> any DispatchSourceSignal {
    signal(number, SIG_IGN)
    let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
    source.setEventHandler(handler: handler)
    source.resume()
    return source
  }
}
