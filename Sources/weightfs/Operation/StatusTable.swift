import Content
import MountDaemon

/// The status of a mount as text for people.
///
/// Pure functions.
enum StatusTable {
  private static let barWidth = 20
  // Files and blobs that are listed; the heading has their number.
  private static let rowLimit = 20

  /// Returns the lines of a status.
  static func text(_ status: MountStatus) -> String {
    ([heading(status), cache(status.cache)] + fetching(status.fetching) + open(status.openFiles)
      + endpoints(status.endpoints) + failures(status.failures)).joined(separator: "\n")
  }

  private static func heading(_ status: MountStatus) -> String {
    "\(status.mountPoint): \(status.source), up \(duration(status.uptime)), process \(status.process), weightfs \(status.version)"
  }

  private static func cache(_ cache: MountStatus.Cache) -> String {
    var parts = ["cache: \(ByteSize.text(cache.usedBytes)) used"]
    if let limit = cache.limit { parts[0] += " of \(ByteSize.text(limit))" }
    parts.append(
      "\(ByteSize.text(cache.freeBytes)) free on the disk, \(ByteSize.text(cache.minFree)) must stay free"
    )
    if let rate = cache.hitRate { parts.append("\(Int((rate * 100).rounded())) % of bytes from the cache") }
    if cache.evictedBytes > 0 {
      parts.append("\(ByteSize.text(Int64(clamping: cache.evictedBytes))) evicted")
    }
    return parts.joined(separator: ", ")
  }

  private static func fetching(_ blobs: [MountStatus.Blob]) -> [String] {
    guard !blobs.isEmpty else { return ["fetching: nothing"] }
    let rows = blobs.prefix(rowLimit).map { blob in
      let share = blob.size > 0 ? Double(blob.cachedBytes) / Double(blob.size) : 1
      var line =
        "  \(bar(share)) \(percent(share)) \(ByteSize.text(blob.cachedBytes)) of \(ByteSize.text(blob.size)), \(ByteSize.text(Int64(blob.rate)))/s"
      if let left = blob.secondsLeft { line += ", \(duration(left)) left" }
      if blob.waitingReads > 0 {
        line += ", \(count(blob.waitingReads, "read")) waiting"
        if let wait = blob.longestWait { line += " for \(duration(wait))" }
      }
      line += "  \(blob.file ?? String(blob.digest.prefix(19)))"
      return blob.origin.map { "\(line) from \($0)" } ?? line
    }
    return ["fetching: \(count(blobs.count, "blob"))"] + rows
  }

  private static func open(_ files: [MountStatus.File]) -> [String] {
    guard !files.isEmpty else { return ["open files: none"] }
    let rows = files.prefix(rowLimit).map { file in
      let share = file.size > 0 ? Double(file.cachedBytes) / Double(file.size) : 1
      return "  \(percent(share)) of \(ByteSize.text(file.size))  \(file.served)  \(file.path)"
    }
    return ["open files: \(files.count)"] + rows
  }

  private static func endpoints(_ endpoints: [MountStatus.Endpoint]) -> [String] {
    guard !endpoints.isEmpty else { return [] }
    return ["endpoints:"]
      + endpoints.prefix(rowLimit).map { "  \($0.host): \($0.succeeded) answered, \($0.failed) failed" }
  }

  private static func failures(_ failures: [MountStatus.Failure]) -> [String] {
    guard !failures.isEmpty else { return [] }
    return ["last failures:"]
      + failures.prefix(5).map {
        "  \(duration($0.age)) ago: \($0.operation) \($0.path): \($0.errno): \($0.reason)"
      }
  }

  private static func bar(_ share: Double) -> String {
    let full = max(0, min(barWidth, Int(share * Double(barWidth))))
    return "[" + String(repeating: "#", count: full) + String(repeating: ".", count: barWidth - full) + "]"
  }

  private static func percent(_ share: Double) -> String {
    let text = "\(Int(share * 100))%"
    return String(repeating: " ", count: max(0, 4 - text.count)) + text
  }

  private static func count(_ number: Int, _ noun: String) -> String {
    "\(number) \(noun)\(number == 1 ? "" : "s")"
  }

  /// A number of seconds in words: `12 s`, `3 min 5 s`, `2 h 4 min`.
  static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds < 1e9 else { return "a long time" }
    let whole = Int(max(0, seconds))
    switch whole {
    case ..<60: return "\(whole) s"
    case ..<3600: return "\(whole / 60) min \(whole % 60) s"
    default: return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }
  }
}
