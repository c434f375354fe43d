import Content
import FoundationEssentials
import HTTP
import OCI

extension RegistryRepository {
  /// Sends a request for something small, with authorization and retries.
  ///
  /// - Parameters:
  ///   - method: GET or HEAD.
  ///   - path: behind the repository's address.
  ///   - accept: types, best first.
  ///   - limit: of the body in bytes.
  ///   - isOutside: the path counts from the registry's address, not from the repository's.
  /// - Returns: the response and its whole body.
  /// - Throws: `ContentError`, not for a status: that is the caller's to judge.
  func send(
    _ method: HTTPRequest.Method,
    _ path: String,
    accept: [MediaType],
    limit: Int,
    isOutside: Bool = false
  ) async throws(ContentError) -> (response: HTTPResponse, body: [UInt8]) {
    if let known = client.hosts.failure(of: name) { throw known }
    var attempt = 1
    var failing: ContinuousClock.Instant?
    var authorizer = Authorizer()
    var authorization = await client.tokens.current(tokenKey)?.header
    while true {
      // Anew each time: the scheme that the registry speaks may have been found meanwhile.
      var request = HTTPRequest(method, try address(path, isOutside: isOutside))
      prepare(&request)
      request.totalTimeout = client.configuration.stallTimeout * 2
      if !accept.isEmpty {
        request.headers.append(("Accept", accept.map(\.rawValue).joined(separator: ", ")))
      }
      request.authorization = authorization
      let outcome = await exchange(request, limit: limit)
      let now = ContinuousClock.now
      let elapsed = now - (failing ?? now)
      var retryAfter: Duration?
      switch outcome {
      case .success(let (response, body)):
        if changesScheme(after: response, of: request) { continue }
        // Some registries answer 403 once a password has expired.
        if response.status == 401 || (response.status == 403 && Authorizer.mayHaveExpired(authorization)) {
          switch try await authorize(response, sent: authorization, &authorizer) {
          case .send(let header):
            authorization = header
            continue
          case .giveUp: return (response, body)
          }
        }
        guard RetryPolicy.isTransient(response.status) else { return (response, body) }
        retryAfter = response.retryAfter(now: WallClock.seconds)
        guard let delay = nextDelay(attempt, elapsed, .lookUp, retryAfter) else {
          return (response, body)
        }
        try await pause(delay)
      case .failure(let error):
        if changesScheme(after: error, of: request) { continue }
        guard error.isTransient, let delay = nextDelay(attempt, elapsed, .lookUp, nil) else {
          let failed = failure(error, subject: "\(name)")
          // Look-ups of the next moments need not wait for it as long.
          if [.unreachable, .tls, .broken, .timedOut].contains(error.code) {
            client.hosts.noteFailure(failed, of: name, isEndpoint: isEndpointFailure(error, request))
          }
          throw failed
        }
        try await pause(delay)
      }
      failing = failing ?? now
      attempt += 1
    }
  }

  private func exchange(
    _ request: HTTPRequest,
    limit: Int
  ) async -> Result<(response: HTTPResponse, body: [UInt8]), HTTPError> {
    let sent = ContinuousClock.now
    let outcome: Result<(response: HTTPResponse, body: [UInt8]), HTTPError>
    do throws(HTTPError) {
      outcome = .success(try await client.thread.send(request, limit: limit))
    } catch {
      outcome = .failure(error)
    }
    client.logRequest(request, outcome, sent)
    return outcome
  }

  /// Whether no connection to the registry itself could be made.
  private func isEndpointFailure(_ error: HTTPError, _ request: HTTPRequest) -> Bool {
    guard error.code == .unreachable || error.code == .tls else { return false }
    return error.url.map { $0.hasSameOrigin(as: request.url) } ?? true
  }

  var tokenKey: String { "\(name)" }

  /// The address that the registry's API is below, by the scheme that it is known to speak.
  var base: String { client.base(of: name.registry) }

  /// The host of the registry's own address, without port.
  var host: String { RequestURL(base)?.host ?? "" }

  /// Sets what all requests of the registry have in common.
  func prepare(_ request: inout HTTPRequest) {
    request.stallTimeout = client.configuration.stallTimeout
    request.minimumRate = client.configuration.minimumRate
    request.trustedHosts = client.configuration.insecure
  }

  func address(_ path: String, isOutside: Bool = false) throws(ContentError) -> RequestURL {
    guard let url = RequestURL(isOutside ? "\(base)\(path)" : "\(base)\(name.path)/\(path)") else {
      throw ContentError(
        .invalid,
        "\(name)",
        host: name.registry,
        "no address can be made of '\(path.prefix(200))'"
      )
    }
    return url
  }

  func nextDelay(
    _ attempt: Int,
    _ elapsed: Duration,
    _ patience: RetryPolicy.Patience,
    _ retryAfter: Duration?
  ) -> Duration? {
    client.configuration.retry.delay(
      afterAttempt: attempt,
      elapsed: elapsed,
      patience: patience,
      retryAfter: retryAfter,
      random: Double.random(in: 0...1)
    )
  }

  func pause(_ delay: Duration) async throws(ContentError) {
    do {
      try await Task.sleep(for: delay)
    } catch {
      throw ContentError(.cancelled, "\(name)", host: name.registry, "cancelled")
    }
  }

  // MARK: TLS on this machine

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

  /// The same for a response; it also tells which scheme the registry speaks.
  func changesScheme(after response: HTTPResponse, of request: HTTPRequest) -> Bool {
    if response.status == 400, isOutdated(request) { return true }
    guard isOwn(request.url) else { return false }
    let isDirect = response.url.hasSameOrigin(as: request.url)
    switch client.hosts.scheme(of: name.registry) {
    case nil where response.status == 400 && isDirect && mayTryTLS(request):
      client.hosts.note(.tryingTLS, of: name.registry)
      return true
    case nil where request.url.scheme == "http": client.hosts.note(.plain, of: name.registry)
    case .tryingTLS? where request.url.scheme == "https": client.hosts.note(.tls, of: name.registry)
    default: break
    }
    return false
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

  /// The error that a status stands for.
  func failure(_ response: HTTPResponse, subject: String) -> ContentError {
    let host = name.registry
    switch response.status {
    case 404:
      return ContentError(.notFound, subject, host: host, "the registry does not have it")
    case 401, 403:
      return ContentError(
        .unauthorized,
        subject,
        host: host,
        "the registry refused (status \(response.status))",
        advice: "Log in with 'podman login \(host)' or 'docker login \(host)'"
      )
    case 429:
      return ContentError(
        .unreachable,
        subject,
        host: host,
        "the registry limits requests (status 429)",
        advice: "Try again later, or log in for a higher limit"
      )
    default:
      return ContentError(
        .unreachable,
        subject,
        host: host,
        "the registry answered with status \(response.status)"
      )
    }
  }

  /// The error that a failed transfer stands for.
  func failure(_ error: HTTPError, subject: String) -> ContentError {
    let code: ContentError.Code =
      switch error.code {
      case .timedOut: .timedOut
      case .cancelled, .stopped: .cancelled
      case .unreachable, .tls, .broken, .redirect, .refusedAddress: .unreachable
      case .tooLong: .invalid
      }
    return ContentError(code, subject, host: error.url?.endpoint ?? name.registry, error.reason)
  }
}

extension HTTPError {
  /// Whether another attempt may succeed.
  ///
  /// One that timed out has used its reader's time up.
  var isTransient: Bool {
    switch code {
    case .unreachable, .broken: true
    case .timedOut, .tls, .cancelled, .stopped, .redirect, .refusedAddress, .tooLong: false
    }
  }
}
