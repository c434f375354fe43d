import HTTP
import OCI

/// Detects the scheme of a registry on this machine: plain http, until it answers as a TLS server does.
extension RegistryRepository {
  /// Returns whether a request must be sent again at once by the other scheme.
  ///
  /// That is the case if a registry on this machine answered plain http with a TLS alert, or if https was
  /// tried for that reason and failed. No secret was sent before, as authorization follows a challenge.
  ///
  /// - Parameters:
  ///   - error: The error of the request.
  ///   - request: The failed request.
  func changesScheme(after error: HTTPError, of request: HTTPRequest) -> Bool {
    guard !error.hasResponse else { return false }
    if isOutdated(request) { return true }
    guard isOwn(request.url) else { return false }
    switch client.hosts.scheme(of: name.registry) {
    // An alert is not HTTP, so the response is interrupted.
    case nil where error.code == .broken && mayTryTLS(request):
      client.hosts.note(.tryingTLS, of: name.registry)
      return true
    case .tryingTLS? where request.url.scheme == "https" && (error.code == .tls || error.code == .broken):
      // A certificate that is not trusted still shows that the server speaks TLS.
      guard !error.reason.contains("certificate") else { return false }
      client.hosts.note(.plain, of: name.registry)
      return true
    default: return false
    }
  }

  /// Returns whether a request with an unsuccessful response must be sent again by the other scheme.
  func changesScheme(after response: HTTPResponse, of request: HTTPRequest) -> Bool {
    if response.status == 400, isOutdated(request) { return true }
    guard isOwn(request.url) else { return false }
    if client.hosts.scheme(of: name.registry) == nil, response.status == 400,
      response.url.hasSameOrigin(as: request.url), mayTryTLS(request)
    {
      client.hosts.note(.tryingTLS, of: name.registry)
      return true
    }
    noteScheme(response, of: request)
    return false
  }

  /// Remembers the scheme by which a registry on this machine answered.
  func noteScheme(_ response: HTTPResponse, of request: HTTPRequest) {
    guard isOwn(request.url) else { return }
    switch client.hosts.scheme(of: name.registry) {
    case nil where request.url.scheme == "http": client.hosts.note(.plain, of: name.registry)
    case .tryingTLS? where request.url.scheme == "https": client.hosts.note(.tls, of: name.registry)
    default: break
    }
  }

  /// Returns whether an address is the registry's own, on this machine.
  private func isOwn(_ url: RequestURL) -> Bool {
    url.isLoopback && RequestURL(base).map { url.hasSameOrigin(as: $0) } ?? false
  }

  /// Returns whether a request used plain http before another request found that the registry speaks TLS.
  private func isOutdated(_ request: HTTPRequest) -> Bool {
    guard request.url.scheme == "http", request.url.isLoopback, let own = RequestURL(base),
      own.scheme == "https"
    else { return false }
    return request.url.host == own.host && request.url.port == own.port
  }

  private func mayTryTLS(_ request: HTTPRequest) -> Bool {
    request.url.scheme == "http" && request.authorization == nil
      && !client.configuration.insecure.contains(name.registry)
  }
}
