/// The status line and headers of a response.
package struct HTTPResponse: Sendable {
  package let status: Int
  /// In order, as received.
  package let headers: [(name: String, value: String)]
  /// Where the response came from: the request's address, or what it was redirected to.
  package let url: RequestURL

  /// Makes a response.
  ///
  /// - Parameters:
  ///   - status: by HTTP.
  ///   - headers: in order.
  ///   - url: where it came from.
  package init(status: Int, headers: [(name: String, value: String)], url: RequestURL) {
    self.status = status
    self.headers = headers
    self.url = url
  }

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
  /// - Returns: all of them, in order.
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

  /// Seconds of a `Retry-After` header that counts seconds (RFC 9110 10.2.3); dates are not read.
  package var retryAfter: Duration? {
    header("retry-after").flatMap { Int64($0) }.flatMap { $0 >= 0 ? .seconds($0) : nil }
  }
}

/// Why there is no response.
package struct HTTPError: Error, Sendable, CustomStringConvertible {
  /// The kind of failure.
  package enum Code: Sendable {
    case unreachable
    case timedOut
    case tls
    case cancelled
    /// The receiver wanted no more.
    case stopped
    /// A body that ends before its length, a broken response.
    case broken
    case redirect
    /// More bytes than the caller takes.
    case tooLong
  }

  package let code: Code
  package let reason: String

  /// Makes an error.
  ///
  /// - Parameters:
  ///   - code: the kind.
  ///   - reason: one line without secrets.
  package init(_ code: Code, _ reason: String) {
    self.code = code
    self.reason = reason
  }

  package var description: String { reason }
}
