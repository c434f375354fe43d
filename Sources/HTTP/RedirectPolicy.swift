/// Determines whether and how a redirect is followed.
package enum RedirectPolicy {
  /// Maximum number of consecutive redirects.
  package static let maximumCount = 10

  /// Returns the next request after a redirect.
  ///
  /// The Authorization header stays only with the origin it was meant for. A redirect from https to http is refused,
  /// unless the configuration names the host: it would put model bytes, and perhaps a signature, on the wire in the clear.
  ///
  /// - Parameters:
  ///   - request: The redirected request.
  ///   - status: The status, 3xx.
  ///   - location: The absolute URL.
  ///   - count: The number of redirects followed before.
  ///   - peer: The address class of the connection; nil if unknown.
  /// - Throws: `HTTPError` of code `redirect` or `refusedAddress`.
  package static func next(
    after request: HTTPRequest,
    status: Int,
    location: String,
    count: Int,
    peer: AddressClass? = nil
  ) throws(HTTPError) -> HTTPRequest {
    func refused(_ reason: String) -> HTTPError {
      HTTPError(.redirect, "\(request.url) redirects \(reason)", url: request.url)
    }
    guard count < maximumCount else { throw refused("more than \(maximumCount) times") }
    guard let url = RequestURL(location) else { throw refused("to a location that is not an http URL") }
    var next = request
    next.url = url
    guard !(request.url.scheme == "https" && url.scheme == "http") || next.isTrusted else {
      throw refused("from https to plain http (\(url)): refused")
    }
    // The body of a POST request may contain a refresh token.
    guard request.method != .post || url.hasSameOrigin(as: request.url) || status == 303 else {
      throw refused("a POST to another host (\(url)): refused")
    }
    if request.url.scheme == "https", request.addressRule == nil, !url.hasSameOrigin(as: request.url) {
      next.addressRule = AddressRule(registry: peer, isForCredentials: false)
    }
    if let problem = next.refusalByName() { throw problem }
    if !url.hasSameOrigin(as: request.url) || request.dropsAuthorization { next.authorization = nil }
    if let referer = request.redirectReferer {
      next.headers = next.headers.filter { $0.name != "Referer" } + [("Referer", referer)]
    }
    // RFC 9110 15.4: 303 changes the method to GET; for 301 and 302 clients do the same with POST.
    if request.method == .post, status == 303 || status == 302 || status == 301 {
      next.method = .get
      next.body = []
    }
    return next
  }

  /// Whether a status is a redirect with a Location header.
  package static func isRedirect(_ status: Int) -> Bool {
    [301, 302, 303, 307, 308].contains(status)
  }
}

extension HTTPRequest {
  /// Whether the host of the request is exempt from the address rule.
  var isTrusted: Bool { url.isNamed(in: trustedHosts) }

  /// Returns an error if the URL itself has an address, or `localhost`, of a refused class, so that the
  /// request is not sent.
  func refusalByName() -> HTTPError? {
    guard let rule = addressRule, !isTrusted, let found = AddressClass(url.host), rule.refused.contains(found)
    else { return nil }
    return Self.refusal(url, found)
  }

  static func refusal(_ url: RequestURL, _ found: AddressClass) -> HTTPError {
    let kind =
      switch found {
      case .global: "a global"
      case .privateNetwork: "a private"
      case .loopback: "a loopback"
      case .linkLocal: "a link-local"
      case .unspecified: "an unspecified"
      }
    return HTTPError(
      .refusedAddress,
      "\(url) has \(kind) address, to which a registry on another network must not direct clients",
      url: url
    )
  }
}
