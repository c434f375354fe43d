import HTTP
import OCI

/// The scheme of a registry on this machine: plain http until it answers as a TLS server does.
extension RegistryRepository {
  /// Whether a request is to be sent again by the other scheme: a registry on this machine answered plain http as a TLS
  /// server does, with an alert, or https was tried for that reason and is not what it speaks.
  ///
  /// Nothing secret was sent before, as authorization follows a challenge.
  ///
  /// - Parameters:
  ///   - error: of the request.
  ///   - request: that failed.
  /// - Returns: true where the request is to be sent again at once.
  func changesScheme(after error: HTTPError, of request: HTTPRequest) -> Bool {
    guard !error.hasResponse else { return false }
    if isOutdated(request) { return true }
    guard isOwn(request.url) else { return false }
    switch client.hosts.scheme(of: name.registry) {
    // An alert is no HTTP, so the response breaks off.
    case nil where error.code == .broken && mayTryTLS(request):
      client.hosts.note(.tryingTLS, of: name.registry)
      return true
    case .tryingTLS? where request.url.scheme == "https" && (error.code == .tls || error.code == .broken):
      // A certificate that is not trusted is a TLS server's all the same.
      guard !error.reason.contains("certificate") else { return false }
      client.hosts.note(.plain, of: name.registry)
      return true
    default: return false
    }
  }

  /// The same for a response that is no success.
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

  /// Remembers the scheme that a registry on this machine answered by.
  func noteScheme(_ response: HTTPResponse, of request: HTTPRequest) {
    guard isOwn(request.url) else { return }
    switch client.hosts.scheme(of: name.registry) {
    case nil where request.url.scheme == "http": client.hosts.note(.plain, of: name.registry)
    case .tryingTLS? where request.url.scheme == "https": client.hosts.note(.tls, of: name.registry)
    default: break
    }
  }

  /// Whether an address is the registry's own, on this machine.
  private func isOwn(_ url: RequestURL) -> Bool {
    url.isLoopback && RequestURL(base).map { url.hasSameOrigin(as: $0) } ?? false
  }

  /// Whether a request was sent by plain http before another one found that the registry speaks TLS.
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
