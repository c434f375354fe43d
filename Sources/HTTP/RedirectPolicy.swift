/// Whether and how a redirect is followed.
package enum RedirectPolicy {
  /// How many are followed, one after another.
  package static let maximumCount = 10

  /// The request to send next.
  ///
  /// The Authorization header stays only with the origin it was meant for. A redirect from https to http is refused:
  /// it would put model bytes, and perhaps a signature, on the wire in the clear.
  ///
  /// - Parameters:
  ///   - request: what was sent.
  ///   - status: 3xx.
  ///   - location: the absolute address.
  ///   - count: how many were followed before.
  /// - Returns: what was asked for.
  /// - Throws: `HTTPError` with `redirect`.
  package static func next(
    after request: HTTPRequest,
    status: Int,
    location: String,
    count: Int
  ) throws(HTTPError) -> HTTPRequest {
    guard count < maximumCount else {
      throw HTTPError(.redirect, "\(request.url) redirects more than \(maximumCount) times")
    }
    guard let url = RequestURL(location) else {
      throw HTTPError(.redirect, "\(request.url) redirects to something that is not an http address")
    }
    guard !(request.url.scheme == "https" && url.scheme == "http") else {
      throw HTTPError(.redirect, "\(request.url) redirects from https to plain http (\(url)): refused")
    }
    // The body of a POST may be a refresh token.
    guard request.method != .post || url.hasSameOrigin(as: request.url) || status == 303 else {
      throw HTTPError(.redirect, "\(request.url) redirects a POST to another host (\(url)): refused")
    }
    var next = request
    next.url = url
    if !url.hasSameOrigin(as: request.url) { next.authorization = nil }
    // RFC 9110 15.4: 303 turns into GET, 301 and 302 by what clients do with POST.
    if request.method == .post, status == 303 || status == 302 || status == 301 {
      next.method = .get
      next.body = []
    }
    return next
  }

  /// Whether a status is a redirect that has a Location.
  ///
  /// - Parameter status: of a response.
  /// - Returns: true if so.
  package static func isRedirect(_ status: Int) -> Bool {
    [301, 302, 303, 307, 308].contains(status)
  }
}
