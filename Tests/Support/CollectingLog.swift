package import Logging
import Synchronization

/// The lines of a log.
package final class CollectedMessages: Sendable {
  private let lines = Mutex<[String]>([])

  /// Makes an empty collection.
  package init() {}

  package var all: [String] { lines.withLock { $0 } }
  package func add(_ line: String) { lines.withLock { $0.append(line) } }
}

/// A log that tests can read.
package struct CollectingLog: LogHandler {
  package let messages: CollectedMessages
  package var logLevel = Logger.Level.debug
  package var metadata: Logger.Metadata = [:]

  /// Makes a handler.
  ///
  /// - Parameter messages: receives the lines.
  package init(messages: CollectedMessages) { self.messages = messages }

  package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  package func log(event: LogEvent) {
    let pairs = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    messages.add("\(event.level) \(event.message) \(pairs.joined(separator: " "))")
  }
}
