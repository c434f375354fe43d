/// The status line and headers of a response.
package struct HTTPResponse: Sendable {
  package let status: Int
  /// In order, as received.
  package let headers: [(name: String, value: String)]
  /// Where the response came from: the request's address, or what it was redirected to.
  package let url: RequestURL
  /// The class of the address that the connection led to; nil where a proxy was in between.
  package let peer: AddressClass?
  /// The rule that the connection was held against.
  package let rule: AddressRule?

  /// Makes a response.
  ///
  /// - Parameters:
  ///   - status: by HTTP.
  ///   - headers: in order.
  ///   - url: where it came from.
  ///   - peer: the class of the address that the connection led to.
  ///   - rule: that the connection was held against.
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

  /// The first value of a header.
  ///
  /// - Parameter name: in lower case.
  /// - Returns: nil where there is none.
  package func header(_ name: String) -> String? {
    headers.first { $0.name.lowercased() == name }?.value
  }

  /// Every value of a header.
  ///
  /// - Parameter name: in lower case.
  package func allHeaders(_ name: String) -> [String] {
    headers.filter { $0.name.lowercased() == name }.map(\.value)
  }

  /// `Content-Length`, where it is a number.
  package var contentLength: Int64? { header("content-length").flatMap { Int64($0) } }

  /// `Content-Range: bytes first-last/size`, the size where it is given (RFC 9110 14.4).
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

  /// How long the server asks to wait: `Retry-After` in seconds or as a date (RFC 9110 10.2.3), else the time until a
  /// quota starts again (`ratelimit: …;t=N`, as Hugging Face sends it).
  ///
  /// - Parameter now: seconds since 1970.
  /// - Returns: nil where it asks for nothing.
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

/// Why there is no response.
package struct HTTPError: Error, Sendable, CustomStringConvertible {
  /// The kind of failure.
  package enum Code: Sendable {
    /// No connection could be made.
    case unreachable
    /// Too few bytes came for too long.
    case timedOut
    case tls
    case cancelled
    /// The receiver wanted no more.
    case stopped
    /// A body that ends before its length, a broken response.
    case broken
    case redirect
    /// The address is one that the host which told of it may not lead to.
    case refusedAddress
    /// More bytes than the caller takes.
    case tooLong
  }

  package let code: Code
  package let reason: String
  /// Of the request that failed: the one that was started, or what it was redirected to.
  package let url: RequestURL?
  /// The status line of a response had arrived before.
  package let hasResponse: Bool

  /// Makes an error.
  ///
  /// - Parameters:
  ///   - code: the kind.
  ///   - reason: one line without secrets.
  ///   - url: of the request that failed.
  ///   - hasResponse: the status line of a response had arrived before.
  package init(_ code: Code, _ reason: String, url: RequestURL? = nil, hasResponse: Bool = false) {
    self.hasResponse = hasResponse
    self.code = code
    self.reason = reason
    self.url = url
  }

  package var description: String { reason }
}
