/// One request, with its limits.
package struct HTTPRequest: Sendable {
  /// The method of a request.
  package enum Method: String, Sendable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
  }

  package var method: Method
  package var url: RequestURL
  /// Names and values.
  ///
  /// They are also sent to redirect targets, so they must not contain secrets.
  package var headers: [(name: String, value: String)]
  /// The Authorization header; never sent to another origin than that of `url`.
  package var authorization: Secret?
  /// Whether Authorization is also dropped for a redirect to another path of the same origin.
  package var dropsAuthorization = false
  /// The `Referer` header of redirected requests.
  package var redirectReferer: String?
  /// The range of the resource in bytes; a single range.
  package var range: Range<Int64>?
  /// The body of a POST request.
  package var body: [UInt8]
  package var connectTimeout: Duration = .seconds(10)
  /// How long the rate may stay below the minimum before the request fails.
  package var stallTimeout: Duration = .seconds(30)
  /// Minimum rate in bytes per second, at least 1.
  package var minimumRate = 1
  /// The rule for the address of the connection; nil for any address.
  ///
  /// A redirect of a request without a rule gets a rule from the address of the redirecting host.
  package var addressRule: AddressRule?
  /// Hosts, as `host` or `host:port`, to which the rule does not apply.
  package var trustedHosts: Set<String> = []
  /// Whether the request must use a new connection.
  package var usesNewConnection = false
  /// Maximum total time; nil if the time depends on the amount of data.
  package var totalTimeout: Duration?

  /// Creates a request.
  ///
  /// - Parameters:
  ///   - method: The method.
  ///   - url: The URL.
  ///   - headers: Names and values.
  ///   - authorization: The value of the Authorization header.
  ///   - range: A single byte range that is not empty.
  ///   - body: The body of a POST request.
  package init(
    _ method: Method,
    _ url: RequestURL,
    headers: [(name: String, value: String)] = [],
    authorization: Secret? = nil,
    range: Range<Int64>? = nil,
    body: [UInt8] = []
  ) {
    self.method = method
    self.url = url
    self.headers = headers
    self.authorization = authorization
    self.range = range
    self.body = body
  }
}
