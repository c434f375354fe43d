/// One request, with the bounds it runs in.
package struct HTTPRequest: Sendable {
  /// What is done.
  package enum Method: String, Sendable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
  }

  package var method: Method
  package var url: RequestURL
  /// Name and value, sent as they are.
  ///
  /// They are sent to redirect targets too, so nothing secret stands here.
  package var headers: [(name: String, value: String)]
  /// The Authorization header; never sent to another origin than that of `url`.
  package var authorization: Secret?
  /// A redirect to another path of the same origin is sent without Authorization as well.
  package var dropsAuthorization = false
  /// The `Referer` header of redirected requests.
  package var redirectReferer: String?
  /// Bytes of the resource; a single range.
  package var range: Range<Int64>?
  /// Sent with POST.
  package var body: [UInt8]
  package var connectTimeout: Duration = .seconds(10)
  /// How long fewer bytes than the minimum rate may come.
  package var stallTimeout: Duration = .seconds(30)
  /// Bytes a second below which a transfer counts as standing still; at least 1.
  package var minimumRate = 1
  /// Where the connection may lead; nil for anywhere.
  ///
  /// A redirect of a request without a rule gets one by the address that redirected.
  package var addressRule: AddressRule?
  /// Hosts, as `host` or `host:port`, that the rule does not hold for.
  package var trustedHosts: Set<String> = []
  /// No connection that was used before is used.
  package var usesNewConnection = false
  /// How long it may take in all; none where it depends on how much there is.
  package var totalTimeout: Duration?

  /// Makes a request.
  ///
  /// - Parameters:
  ///   - method: what is done.
  ///   - url: to what.
  ///   - headers: name and value.
  ///   - authorization: the header's value.
  ///   - range: a single range of bytes, not empty.
  ///   - body: for POST.
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
