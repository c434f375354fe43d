/// The status line and headers of a response.
package struct HTTPResponse: Sendable {
  package let status: Int
  /// Names and values in the order received.
  package let headers: [(name: String, value: String)]
  /// The URL of the response: that of the request, or of the last redirect.
  package let url: RequestURL
  /// The address class of the connection; nil if a proxy was used.
  package let peer: AddressClass?
  /// The rule that the connection was checked against.
  package let rule: AddressRule?

  /// Creates a response.
  ///
  /// - Parameters:
  ///   - status: The HTTP status.
  ///   - headers: Names and values in order.
  ///   - url: The URL of the response.
  ///   - peer: The address class of the connection.
  ///   - rule: The rule that the connection was checked against.
  package init(
    status: Int,
    headers: [(name: String, value: String)],
    url: RequestURL,
    peer: AddressClass? = nil,
    rule: AddressRule? = nil
  ) {
    self.status = status
    self.headers = headers
    self.url = url
    self.peer = peer
    self.rule = rule
  }

  /// Whether the status is 2xx.
  package var isSuccess: Bool { (200..<300).contains(status) }

  /// Returns the first value of a header, or nil.
  ///
  /// - Parameter name: In lower case.
  package func header(_ name: String) -> String? {
    headers.first { $0.name.lowercased() == name }?.value
  }

  /// Returns all values of a header.
  ///
  /// - Parameter name: In lower case.
  package func allHeaders(_ name: String) -> [String] {
    headers.filter { $0.name.lowercased() == name }.map(\.value)
  }

  /// `Content-Length`, if it is a number.
  package var contentLength: Int64? { header("content-length").flatMap { Int64($0) } }

  /// `Content-Range: bytes first-last/size`, with the size if it is present (RFC 9110 14.4).
  package var contentRange: (range: Range<Int64>, size: Int64?)? {
    guard let value = header("content-range"), value.hasPrefix("bytes ") else { return nil }
    let parts = value.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2 else { return nil }
    let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count == 2, let first = Int64(ends[0]), let last = Int64(ends[1]), first >= 0, last >= first,
      last < .max
    else { return nil }
    return (first..<(last + 1), Int64(parts[1]))
  }

  /// Returns how long the server asks to wait, or nil: `Retry-After` in seconds or as a date (RFC 9110
  /// 10.2.3), else the time until a quota is renewed (`ratelimit: …;t=N`, as Hugging Face sends it).
  ///
  /// - Parameter now: Seconds since 1970.
  package func retryAfter(now: Int64) -> Duration? {
    if let value = header("retry-after") {
      if let seconds = Int64(value) { return seconds >= 0 ? .seconds(min(seconds, 86_400)) : nil }
      if let date = HTTPDate.seconds(value) { return .seconds(min(max(0, date - now), 86_400)) }
    }
    guard let quota = header("ratelimit"), status == 429 else { return nil }
    let parts = quota.split { $0 == ";" || $0 == "," }.map { $0.filter { $0 != " " } }
    let seconds = parts.first { $0.hasPrefix("t=") }.flatMap { Int64($0.dropFirst(2)) }
    return seconds.flatMap { $0 >= 0 ? .seconds(min($0, 86_400)) : nil }
  }
}

/// A failed request.
package struct HTTPError: Error, Sendable, CustomStringConvertible {
  /// The kind of failure.
  package enum Code: Sendable {
    /// No connection could be made.
    case unreachable
    /// The rate stayed below the minimum for too long.
    case timedOut
    case tls
    case cancelled
    /// The receiver ended the transfer.
    case stopped
    /// The body ended before its length, or the response is invalid.
    case broken
    case redirect
    /// The address rule refuses the address of the connection.
    case refusedAddress
    /// The body exceeds the limit of the caller.
    case tooLong
  }

  package let code: Code
  package let reason: String
  /// The URL of the request that failed: the first one, or that of a redirect.
  package let url: RequestURL?
  /// Whether the status line of a response had arrived before.
  package let hasResponse: Bool

  /// Creates an error.
  ///
  /// - Parameters:
  ///   - code: The kind of failure.
  ///   - reason: One line without secrets.
  ///   - url: The URL of the request that failed.
  ///   - hasResponse: Whether the status line of a response had arrived before.
  package init(_ code: Code, _ reason: String, url: RequestURL? = nil, hasResponse: Bool = false) {
    self.hasResponse = hasResponse
    self.code = code
    self.reason = reason
    self.url = url
  }

  package var description: String { reason }
}
