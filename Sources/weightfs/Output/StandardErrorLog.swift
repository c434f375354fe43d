import Glibc
import Logging
import OCI

/// Logs messages to standard error: time, level, text and metadata.
struct StandardErrorLog: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level
  var metadataProvider: Logger.MetadataProvider?

  init(level: Logger.Level) { logLevel = level }

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
