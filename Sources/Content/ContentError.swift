/// A failure to resolve, fetch or store content: the subject, the host that was asked, the reason and advice.
package struct ContentError: Error, Sendable {
  /// The kind of failure; `FileSystem` maps each kind to an errno, the commands map it to an exit status.
  package enum Code: String, Sendable, CaseIterable {
    /// The registry, repository, tag, blob or file does not exist.
    case notFound
    /// The registry refused after every credential was tried.
    case unauthorized
    /// The host did not answer, or answered with an error after all retries.
    case unreachable
    /// Not enough bytes arrived before the deadline.
    case timedOut
    /// The bytes do not match their digest or size.
    case corrupt
    /// A document or a name cannot be parsed.
    case invalid
    /// Absent from the local registry, and the network must not be used.
    case offline
    /// The caller was killed or has given up.
    case cancelled
    /// The blob behind an open node was removed or is corrupt; the kernel looks the name up again.
    case stale
    /// The memory budget is exceeded.
    case outOfMemory
    /// The local disk failed.
    case disk
    /// weightfs does not support the request.
    case unsupported
  }

  package let code: Code
  /// The subject of the request, such as a reference or a digest.
  package let subject: String
  /// The host that was asked.
  package let host: String?
  /// What happened, as one line.
  package let reason: String
  /// What to do next, as one line.
  package let advice: String?
  /// Whether the local disk has no space: the bytes may be served without being cached.
  package let isDiskFull: Bool
  /// The error of the layer below, such as an `HTTPError` or an `Errno`; its text is part of `reason`.
  package let underlying: (any Error)?
  /// Every further attempt fails for the same reason, as with a file that was packed wrongly: one log line says it.
  package var isLasting = false

  /// Creates an error.
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
