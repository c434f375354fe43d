import Glibc
import Locking
import Logging
import OCI

/// Logs messages to standard error: time, level, text and metadata.
struct StandardErrorLog: LogHandler {
  var metadata: Logger.Metadata = [:]
  /// The level of all loggers, which a mount changes when its configuration is read again.
  private static let shared = Mutex(Logger.Level.warning)

  var logLevel: Logger.Level {
    get { Self.shared.withLock { $0 } }
    set { Self.shared.withLock { $0 = newValue } }
  }
  var metadataProvider: Logger.MetadataProvider?

  init(level: Logger.Level) { Self.setLevel(level) }

  static func setLevel(_ level: Logger.Level) { shared.withLock { $0 = level } }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    var buffer = [CChar](repeating: 0, count: 32)
    let length = strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
    let stamp = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let all = metadata.merging(event.metadata ?? [:]) { $1 }
    let pairs = all.sorted { $0.key < $1.key }.map { "\($0.key)=\(Self.quoted("\($0.value)"))" }
    Terminal.printError(([stamp, "\(event.level)", "\(event.message)"] + pairs).joined(separator: " "))
  }

  private static func quoted(_ text: String) -> String {
    let clean = ForeignText.visible(text)
    return clean.contains(" ") || clean.contains("\"") || clean.isEmpty ? "\"\(clean)\"" : clean
  }
}
