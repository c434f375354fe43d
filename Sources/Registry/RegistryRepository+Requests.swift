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
  ///   - place: in place of the path, for what is no repository's.
  /// - Returns: what was asked for.
  /// - Throws: `ContentError`, not for a status: that is the caller's to judge.
  func send(
    _ method: HTTPRequest.Method,
    _ path: String,
    accept: [MediaType],
    limit: Int,
    at place: RequestURL? = nil
  ) async throws(ContentError) -> (response: HTTPResponse, body: [UInt8]) {
    let url: RequestURL
    if let place { url = place } else { url = try address(path) }
    var request = HTTPRequest(method, url)
    request.stallTimeout = client.configuration.stallTimeout
    request.totalTimeout = client.configuration.stallTimeout * 2
    if let known = client.hosts.failure(of: name.registry) { throw known }
    if !accept.isEmpty {
      request.headers.append(("Accept", accept.map(\.rawValue).joined(separator: ", ")))
    }
    var attempt = 1
    var wasRefused = false
    request.authorization = await client.tokens.current(tokenKey)?.header
    while true {
      let outcome: Result<(response: HTTPResponse, body: [UInt8]), HTTPError>
      do throws(HTTPError) {
        outcome = .success(try await client.thread.send(request, limit: limit))
      } catch {
        outcome = .failure(error)
      }
      var retryAfter: Duration?
      switch outcome {
      case .success(let (response, body)):
        if response.status == 401, !wasRefused {
          wasRefused = true
          let header = try await authorize(response, refused: request.authorization)
          // The same header again would be refused again.
          guard let header, header != request.authorization else { return (response, body) }
          request.authorization = header
          continue
        }
        guard RetryPolicy.isTransient(response.status) else { return (response, body) }
        retryAfter = response.retryAfter
        guard let delay = nextDelay(attempt, retryAfter) else { return (response, body) }
        try await pause(delay)
      case .failure(let error):
        guard error.isTransient, let delay = nextDelay(attempt, nil) else {
          let failed = failure(error, subject: "\(name)")
          // Who asks the same host in the next moments need not wait for it as long.
          if failed.code != .cancelled { client.hosts.noteFailure(failed, of: name.registry) }
          throw failed
        }
        try await pause(delay)
      }
      attempt += 1
    }
  }

  var tokenKey: String { "\(name)" }

  func address(_ path: String) throws(ContentError) -> RequestURL {
    let text = "\(client.base(of: name.registry))\(name.path)/\(path)"
    guard let url = RequestURL(text) else {
      throw ContentError(
        .invalid,
        "\(name)",
        host: name.registry,
        "no address can be made of '\(path.prefix(200))'"
      )
    }
    return url
  }

  func nextDelay(_ attempt: Int, _ retryAfter: Duration?) -> Duration? {
    client.configuration.retry.delay(
      afterAttempt: attempt,
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

  /// Makes the header that a 401 asks for.
  ///
  /// - Parameters:
  ///   - response: with status 401.
  ///   - refused: what was sent.
  /// - Returns: nil where nothing can be sent that was not.
  /// - Throws: `ContentError`.
  func authorize(_ response: HTTPResponse, refused: Secret?) async throws(ContentError) -> Secret? {
    // A redirect's target may not ask for what belongs to the registry.
    guard response.url.hasSameOrigin(as: try address("")) else { return nil }
    let challenges = response.allHeaders("www-authenticate").flatMap { Challenge.parse($0) }
    let bearer = challenges.first { $0.scheme == "bearer" && $0.parameters["realm"] != nil }
    let basic = challenges.first { $0.scheme == "basic" }
    guard let challenge = bearer ?? basic else { return nil }
    let repository = self
    do throws(HTTPError) {
      return try await client.tokens.refresh(tokenKey, refused: refused) { () async throws(HTTPError) in
        try await repository.makeAuthorization(challenge)
      }.header
    } catch {
      throw failure(error, subject: "a token for \(name)")
    }
  }

  private func makeAuthorization(_ challenge: Challenge) async throws(HTTPError) -> TokenStore.Authorization {
    let credential = client.credentials.credential(for: name)
    guard challenge.scheme == "bearer" else {
      guard case .password(let username, let password)? = credential else {
        return TokenStore.Authorization(header: nil, expires: nil)
      }
      let pair = Base64.encode("\(username):\(password.value)")
      return TokenStore.Authorization(header: Secret("Basic \(pair)"), expires: nil)
    }
    let request = try tokenRequest(challenge, credential)
    var (response, body) = try await sendPatiently(request)
    if request.method == .post, response.status == 404 || response.status == 405 {
      // Servers from before OAuth2 know GET alone (distribution docs/content/spec/auth/token.md).
      let fallback = try tokenRequest(challenge, nil)
      (response, body) = try await sendPatiently(fallback)
    }
    guard response.status == 200 else {
      // A name that does not exist is answered with any of these.
      if (400..<500).contains(response.status), response.status != 429 {
        return TokenStore.Authorization(header: nil, expires: nil)
      }
      throw HTTPError(.broken, "\(request.url) answered \(response.status) to the request for a token")
    }
    guard let token = try? JSONDocument.decode(TokenAnswer.self, from: body), let text = token.text,
      text.utf8.count <= 65_536
    else { throw HTTPError(.broken, "\(request.url) answered without a token") }
    // The specification's default is 60 s. A quarter is left so that a token does not end under way.
    let lifetime = Double(max(token.expires_in ?? 60, 5)) * 0.75
    return TokenStore.Authorization(header: Secret("Bearer \(text)"), expires: .now + .seconds(lifetime))
  }

  /// Sends a request to a token server, again while it fails for the moment.
  private func sendPatiently(
    _ request: HTTPRequest
  ) async throws(HTTPError) -> (response: HTTPResponse, body: [UInt8]) {
    var attempt = 1
    while true {
      var retryAfter: Duration?
      do throws(HTTPError) {
        let answer = try await client.thread.send(request, limit: 1 << 20)
        guard RetryPolicy.isTransient(answer.response.status) else { return answer }
        retryAfter = answer.response.retryAfter
        guard nextDelay(attempt, retryAfter) != nil else { return answer }
      } catch {
        guard error.isTransient, nextDelay(attempt, nil) != nil else { throw error }
      }
      guard let delay = nextDelay(attempt, retryAfter), (try? await Task.sleep(for: delay)) != nil else {
        throw HTTPError(.cancelled, "cancelled")
      }
      attempt += 1
    }
  }

  private struct TokenAnswer: Decodable {
    let token: String?
    let access_token: String?
    let expires_in: Int?

    var text: String? { [token, access_token].compactMap { $0 }.first { !$0.isEmpty } }
  }

  private func tokenRequest(
    _ challenge: Challenge,
    _ credential: Credential?
  ) throws(HTTPError) -> HTTPRequest {
    let realm = challenge.parameters["realm"] ?? ""
    guard let root = RequestURL(realm) else {
      throw HTTPError(.broken, "\(name.registry) names a token server that is not an http address")
    }
    let isPlainRegistry = client.base(of: name.registry).hasPrefix("http:")
    guard root.scheme == "https" || isPlainRegistry || root.isLoopback else {
      throw HTTPError(.tls, "\(name.registry) names a token server in plain http (\(root)): refused")
    }
    let scope = challenge.parameters["scope"] ?? "repository:\(name.path):pull"
    var fields: [(String, String)] = []
    if let service = challenge.parameters["service"] { fields.append(("service", service)) }
    var authorization: Secret?
    switch credential {
    case .identityToken(let token):
      fields += [("scope", scope), ("grant_type", "refresh_token"), ("client_id", "weightfs")]
      fields.append(("refresh_token", token.value))
      var request = HTTPRequest(.post, root, body: Array(FormEncoding.encode(fields).utf8))
      request.headers.append(("Content-Type", "application/x-www-form-urlencoded"))
      request.totalTimeout = client.configuration.stallTimeout * 2
      return request
    case .password(let username, let password):
      fields.append(("account", username))
      authorization = Secret("Basic \(Base64.encode("\(username):\(password.value)"))")
    case nil: break
    }
    fields += scope.split(separator: " ").map { ("scope", String($0)) }
    let separator = realm.contains("?") ? "&" : "?"
    guard let url = RequestURL("\(realm)\(separator)\(FormEncoding.encode(fields))") else {
      throw HTTPError(.broken, "\(name.registry) names a token server that is not an http address")
    }
    var request = HTTPRequest(.get, url, authorization: authorization)
    request.totalTimeout = client.configuration.stallTimeout * 2
    return request
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
      case .unreachable, .tls, .broken, .redirect: .unreachable
      case .tooLong: .invalid
      }
    return ContentError(code, subject, host: name.registry, error.reason)
  }
}

extension HTTPError {
  /// Whether another attempt may succeed.
  ///
  /// One that timed out has used its reader's time up.
  var isTransient: Bool {
    switch code {
    case .unreachable, .broken: true
    case .timedOut, .tls, .cancelled, .stopped, .redirect, .tooLong: false
    }
  }
}
