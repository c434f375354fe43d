/// A metric in the text form of Prometheus.
package protocol Metric: Sendable {
  /// The name according to Prometheus' rules, such as `weightfs_fetched_bytes_total`.
  var name: String { get }
  /// A description for people, one line.
  var help: String { get }
  /// `counter`, `gauge` or `histogram`.
  var kind: String { get }
  /// The lines with the values, each with a line feed.
  var samples: String { get }
}

extension Metric {
  /// The lines of the exposition format 0.0.4.
  var text: String { "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n\(samples)" }
}
