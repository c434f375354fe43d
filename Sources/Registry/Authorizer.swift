import Content
import HTTP
import Logging
import OCI

/// How far one request has come with its authorization: each way is tried once.
///
///     none ── 401 ──► credential ── 401 ──► anonymous ── 401 ──► refused
///
/// A 401 without a challenge, or for a header from an earlier request, leads to the next stage as well.
struct Authorizer: Sendable {
  enum Stage: Sendable, Equatable {
    case none, credential, anonymous
  }

  var stage = Stage.none
  /// The file or helper whose credential the last header was made of; nil for an anonymous one.
  var source: String?
  /// Until when the last header was good.
  var expires: ContinuousClock.Instant?
  /// A token that had ended was renewed; one that ends again and again is a refusal.
  var hasRenewed = false

  /// Whether a header may be refused with 403 because its password has expired (Amazon's registries, after 12 hours).
  static func mayHaveExpired(_ header: Secret?) -> Bool { header?.value.hasPrefix("Basic ") ?? false }

  /// What to send next.
  enum Step: Sendable, Equatable {
    /// With this header; nil for none.
    case send(Secret?)
    case giveUp
  }
}

extension RegistryRepository {
  /// Says what to send after a refusal.
  ///
  /// - Parameters:
  ///   - response: with status 401, or 403 for a header of an earlier request.
  ///   - sent: the header that was refused; nil for none.
  ///   - authorizer: of this request.
  /// - Returns: the header to send, or that there is none left to try.
  /// - Throws: `ContentError` where a token server does not answer.
  func authorize(
    _ response: HTTPResponse,
    sent: Secret?,
    _ authorizer: inout Authorizer
  ) async throws(ContentError) -> Authorizer.Step {
    // A redirect's target may not ask for what belongs to the registry.
    guard response.url.hasSameOrigin(as: try address("")) else { return .giveUp }
    let challenges = response.allHeaders("www-authenticate").flatMap { Challenge.parse($0) }
    let bearer = challenges.first { $0.scheme == "bearer" && $0.parameters["realm"] != nil }
    var basic = challenges.first { $0.scheme == "basic" }
    if response.status == 403, authorizer.stage != .none { return .giveUp }
    if basic == nil, Authorizer.mayHaveExpired(sent) { basic = Challenge(scheme: "basic", parameters: [:]) }
    guard let challenge = bearer ?? basic else {
      // Without a challenge nothing can be made; what was sent may be what is wrong.
      guard authorizer.stage != .anonymous, sent != nil else { return .giveUp }
      authorizer.stage = .anonymous
      return .send(nil)
    }
    // A token that has ended while the request waited is renewed, and is no refusal of what it was made of.
    if authorizer.stage == .credential, !authorizer.hasRenewed, let expires = authorizer.expires,
      expires <= .now
    {
      authorizer.stage = .none
      authorizer.hasRenewed = true
    }
    if authorizer.stage == .none {
      authorizer.stage = .credential
      let made = try await authorization(for: challenge, response, refused: sent, isAnonymous: false)
      (authorizer.source, authorizer.expires) = (made.source, made.expires)
      if let header = made.header, header != sent { return .send(header) }
      // No credential, and nothing was sent: the same without a header would be refused again.
      guard made.source != nil || sent != nil else { return .giveUp }
    }
    guard authorizer.stage == .credential else { return .giveUp }
    authorizer.stage = .anonymous
    // An anonymous header that was refused would be refused again.
    guard let source = authorizer.source else { return .giveUp }
    warnRefused(source, response.status)
    let anonymous = try await authorization(for: challenge, response, refused: sent, isAnonymous: true)
    return anonymous.header == sent ? .giveUp : .send(anonymous.header)
  }

  private func warnRefused(_ source: String, _ status: Int) {
    guard client.warnings.isFirst("refused \(source) \(name.registry)") else { return }
    client.log.warning(
      "a credential was refused: the registry is asked without it",
      metadata: [
        "registry": "\(name.registry)", "from": "\(source)", "status": "\(status)",
        "advice": "Log in again, or remove the entry",
      ]
    )
  }

  private func authorization(
    for challenge: Challenge,
    _ response: HTTPResponse,
    refused: Secret?,
    isAnonymous: Bool
  ) async throws(ContentError) -> TokenStore.Authorization {
    let repository = self
    let peer = response.peer
    do throws(HTTPError) {
      return try await client.tokens.refresh(tokenKey, refused: refused, isAnonymous: isAnonymous) {
        () async throws(HTTPError) in
        try await repository.make(challenge, peer, isAnonymous: isAnonymous)
      }
    } catch {
      throw failure(error, subject: "a token for \(name)")
    }
  }

  private func make(
    _ challenge: Challenge,
    _ peer: AddressClass?,
    isAnonymous: Bool
  ) async throws(HTTPError) -> TokenStore.Authorization {
    let found = isAnonymous ? nil : await client.credentials.credential(for: name)
    if case .registryToken(let token)? = found?.credential {
      return TokenStore.Authorization(
        header: Secret("Bearer \(token.value)"),
        expires: nil,
        source: found?.source
      )
    }
    guard challenge.scheme == "bearer" else {
      guard case .password(let username, let password)? = found?.credential else {
        return TokenStore.Authorization(header: nil, expires: nil, source: nil)
      }
      let pair = Base64.encode("\(username):\(password.value)")
      return TokenStore.Authorization(header: Secret("Basic \(pair)"), expires: nil, source: found?.source)
    }
    guard let found else { return try await token(challenge, nil, peer) ?? .none }
    if let authorization = try await token(challenge, found, peer) { return authorization }
    // An expired password must not end what everybody may read.
    warnRefused(found.source, 401)
    return try await token(challenge, nil, peer) ?? .none
  }

  /// A token; nil where the token server refuses.
  private func token(
    _ challenge: Challenge,
    _ found: FoundCredential?,
    _ peer: AddressClass?
  ) async throws(HTTPError) -> TokenStore.Authorization? {
    var request = try TokenRequest(repository: self, challenge: challenge, peer: peer).make(found?.credential)
    let answer: (response: HTTPResponse, body: [UInt8])
    do throws(HTTPError) {
      var sent = try await sendPatiently(request)
      if request.method == .post, sent.response.status == 404 || sent.response.status == 405 {
        // Servers from before OAuth2 know GET alone (distribution docs/content/spec/auth/token.md).
        request = try TokenRequest(repository: self, challenge: challenge, peer: peer).make(nil)
        sent = try await sendPatiently(request)
      }
      answer = sent
    } catch {
      // Credentials do not go into a private network that the registry is not in; an anonymous token may come from it.
      guard error.code == .refusedAddress, found != nil else { throw error }
      client.log.warning(
        "a token server in another network gets no credentials",
        metadata: ["registry": "\(name.registry)", "reason": "\(error)"]
      )
      return try await token(challenge, nil, peer)
    }
    let status = answer.response.status
    guard status == 200 else {
      // A name that does not exist is answered with any of these, and so is a wrong password.
      if (400..<500).contains(status), status != 429 { return nil }
      throw HTTPError(
        .broken,
        "\(request.url) answered \(status) to the request for a token",
        url: request.url
      )
    }
    guard let token = try? JSONDocument.decode(TokenAnswer.self, from: answer.body), let text = token.text,
      text.utf8.count <= 65_536
    else { throw HTTPError(.broken, "\(request.url) answered without a token", url: request.url) }
    // The specification's default is 60 s. A quarter is left so that a token does not end under way.
    let said = token.lifetime.flatMap { $0.isFinite ? $0 : nil } ?? 60
    let lifetime = min(max(said, 5), 86_400) * 0.75
    return TokenStore.Authorization(
      header: Secret("Bearer \(text)"),
      expires: .now + .seconds(lifetime),
      source: found?.source
    )
  }

  /// Sends a request to a token server, again while it fails for the moment.
  private func sendPatiently(
    _ request: HTTPRequest
  ) async throws(HTTPError) -> (response: HTTPResponse, body: [UInt8]) {
    var attempt = 1
    var failing: ContinuousClock.Instant?
    while true {
      var retryAfter: Duration?
      let sent = ContinuousClock.now
      let outcome: Result<(response: HTTPResponse, body: [UInt8]), HTTPError>
      do throws(HTTPError) {
        outcome = .success(try await client.thread.send(request, limit: 1 << 20))
      } catch {
        outcome = .failure(error)
      }
      client.logRequest(request, outcome, sent)
      switch outcome {
      case .success(let answer):
        guard RetryPolicy.isTransient(answer.response.status) else { return answer }
        retryAfter = answer.response.retryAfter(now: WallClock.seconds)
      case .failure(let error):
        guard error.isTransient else { throw error }
      }
      let now = ContinuousClock.now
      let elapsed = now - (failing ?? now)
      failing = failing ?? now
      guard let delay = nextDelay(attempt, elapsed, .lookUp, retryAfter) else { return try outcome.get() }
      guard (try? await Task.sleep(for: delay)) != nil else { throw HTTPError(.cancelled, "cancelled") }
      attempt += 1
    }
  }
}

private struct TokenAnswer: Decodable {
  let text: String?
  /// Seconds.
  let lifetime: Double?

  private enum CodingKeys: String, CodingKey {
    case token
    case accessToken = "access_token"
    case lifetime = "expires_in"
  }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let texts = [CodingKeys.token, .accessToken].map { try? container.decode(String.self, forKey: $0) }
    text = texts.compactMap { $0 }.first { !$0.isEmpty }
    // Azure writes a number as text.
    lifetime =
      (try? container.decode(Double.self, forKey: .lifetime))
      ?? (try? container.decode(String.self, forKey: .lifetime)).flatMap { Double($0) }
  }
}
