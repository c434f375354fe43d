/// Why something could not be resolved, fetched or stored: what was asked, of whom, and what to do next.
package struct ContentError: Error, Sendable {
  /// The kind of failure; `FileSystem` maps each to an errno, the commands to an exit code.
  package enum Code: String, Sendable, CaseIterable {
    /// No such registry, repository, tag, blob or file.
    case notFound
    /// The registry refused after every credential was tried.
    case unauthorized
    /// The host did not answer, or answered with an error after all retries.
    case unreachable
    /// No progress until the deadline.
    case timedOut
    /// Bytes that are not what their digest or size says.
    case corrupt
    /// A document or a name that cannot be read.
    case invalid
    /// Not in the local registry, and the network is not to be used.
    case offline
    /// The caller went away.
    case cancelled
    /// The blob behind an open node is gone or bad: look the name up again.
    case stale
    /// More than the memory budget.
    case outOfMemory
    /// The local disk failed.
    case disk
    /// Something that weightfs does not do.
    case unsupported
  }

  package let code: Code
  /// What was asked for, such as a reference or a digest.
  package let subject: String
  /// The host that was asked.
  package let host: String?
  /// What happened, one line.
  package let reason: String
  /// What to do next, one line.
  package let advice: String?
  /// The local disk has no room: bytes may be served without being kept.
  package let isDiskFull: Bool
  /// The error of the layer below, such as an `HTTPError` or an `Errno`; its text is part of `reason`.
  package let underlying: (any Error)?
  /// Every further attempt fails for the same reason, as with a file that was packed wrongly: one log line says it.
  package var isLasting = false

  /// Makes an error.
  ///
  /// - Parameters:
  ///   - code: the kind.
  ///   - subject: what was asked for.
  ///   - host: that was asked.
  ///   - reason: what happened, one line without secrets.
  ///   - advice: what to do next.
  ///   - isDiskFull: the disk has no free space.
  ///   - underlying: the error of the layer below.
  package init(
    _ code: Code,
    _ subject: String,
    host: String? = nil,
    _ reason: String,
    advice: String? = nil,
    isDiskFull: Bool = false,
    underlying: (any Error)? = nil
  ) {
    self.code = code
    self.subject = String(subject.prefix(600))
    self.host = host
    self.reason = String(reason.prefix(600))
    self.advice = advice
    self.isDiskFull = isDiskFull
    self.underlying = underlying
  }
}

extension ContentError: CustomStringConvertible {
  package var description: String {
    var text = subject.isEmpty ? reason : "\(subject): \(reason)"
    if let host, !text.contains(host) { text += " (asked \(host))" }
    if let advice { text += ". \(advice)" }
    return text
  }
}
