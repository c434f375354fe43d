import Logging
import Synchronization

/// The lines of a log.
final class CollectedMessages: Sendable {
  private let lines = Mutex<[String]>([])

  var all: [String] { lines.withLock { $0 } }
  func add(_ line: String) { lines.withLock { $0.append(line) } }
}

/// A log that tests can read.
struct CollectingLog: LogHandler {
  let messages: CollectedMessages
  var logLevel = Logger.Level.debug
  var metadata: Logger.Metadata = [:]

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let pairs = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    messages.add("\(event.level) \(event.message) \(pairs.joined(separator: " "))")
  }
}
