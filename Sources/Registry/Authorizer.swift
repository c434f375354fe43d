import Content
import HTTP
import Logging
import OCI

/// The authorization state of one request; each stage is tried once.
///
///     none ── 401 ──► credential ── 401, 403 ──► anonymous ── 401 ──► refused
///
/// A 401 without a challenge, or for a header from an earlier request, also leads to the next stage. A 403
/// does so only if the header was made from a credential; a 403 seldom has a challenge, so the challenge of
/// the header is used.
struct Authorizer: Sendable {
  enum Stage: Sendable, Equatable {
    case none, credential, anonymous
  }

  var stage = Stage.none
  /// The file or helper that supplied the credential of the last header; nil for an anonymous header.
  var source: String?
  /// The time at which the last header expires.
  var expires: ContinuousClock.Instant?
  /// Whether an expired token was renewed; a second expiry counts as a refusal.
  var hasRenewed = false

  /// Returns whether a 403 may mean an expired password (Amazon's registries, after 12 hours).
  static func mayHaveExpired(_ header: Secret?) -> Bool { header?.value.hasPrefix("Basic ") ?? false }

  /// The next step after a refusal.
  enum Step: Sendable, Equatable {
    /// Sends the request with this header; nil for no header.
    case send(Secret?)
    case giveUp
  }
}

extension RegistryRepository {
  /// Returns the next step after a refusal.
  ///
  /// - Parameters:
  ///   - response: A response with status 401, or with 403 to a request that had a header.
  ///   - sent: The header that was refused; nil for none.
  ///   - authorizer: The authorization state of the request.
  /// - Throws: `ContentError` if a token server does not answer.
  func authorize(
    _ response: HTTPResponse,
    sent: Secret?,
    _ authorizer: inout Authorizer
  ) async throws(ContentError) -> Authorizer.Step {
    // The target of a redirect must not receive the registry's credentials.
    guard !isElsewhere(response.url) else { return .giveUp }
    let known = await client.tokens.authorization(tokenKey, of: sent)
    // Only a header made from a credential can be refused where another header, or none, is accepted.
    if response.status == 403, known?.source == nil { return .giveUp }
    let earlier = response.status == 403 ? known?.challenge : nil
    guard let challenge = challenge(in: response, sent: sent) ?? earlier else {
      // Without a challenge no header can be made; the header that was sent may be the cause.
      guard authorizer.stage != .anonymous, sent != nil else { return .giveUp }
      authorizer.stage = .anonymous
      return .send(nil)
    }
    // A token that expired while the request waited is renewed; its credential does not count as refused.
    if authorizer.stage == .credential, !authorizer.hasRenewed, let expires = authorizer.expires,
      expires <= .now
    {
      authorizer.stage = .none
      authorizer.hasRenewed = true
    }
    // A new token for the same credential would be refused again; a password may have been replaced.
    let isForbidden = response.status == 403 && !Authorizer.mayHaveExpired(sent)
    if authorizer.stage == .none {
      authorizer.stage = .credential
      if isForbidden {
        authorizer.source = known?.source
      } else if let header = try await header(challenge, response, sent, &authorizer) {
        return header
      }
    }
    return try await anonymous(challenge, response, sent, &authorizer)
  }

  /// Returns a challenge of the response that weightfs supports, or nil if there is none.
  private func challenge(in response: HTTPResponse, sent: Secret?) -> Challenge? {
    let challenges = response.allHeaders("www-authenticate").flatMap { Challenge.parse($0) }
    let bearer = challenges.first { $0.scheme == "bearer" && $0.parameters["realm"] != nil }
    if let found = bearer ?? challenges.first(where: { $0.scheme == "basic" }) { return found }
    return Authorizer.mayHaveExpired(sent) ? Challenge(scheme: "basic", parameters: [:]) : nil
  }

  /// Returns the step with a header made from the credential, or nil if that is the refused header.
  private func header(
    _ challenge: Challenge,
    _ response: HTTPResponse,
    _ sent: Secret?,
    _ authorizer: inout Authorizer
  ) async throws(ContentError) -> Authorizer.Step? {
    let made = try await authorization(for: challenge, response, refused: sent, isAnonymous: false)
    (authorizer.source, authorizer.expires) = (made.source, made.expires)
    if let header = made.header, header != sent { return .send(header) }
    // Without a credential and without a sent header, the request would be refused again.
    return made.source == nil && sent == nil ? .giveUp : nil
  }

  /// Returns the step without a credential; it is taken once.
  private func anonymous(
    _ challenge: Challenge,
    _ response: HTTPResponse,
    _ sent: Secret?,
    _ authorizer: inout Authorizer
  ) async throws(ContentError) -> Authorizer.Step {
    guard authorizer.stage == .credential else { return .giveUp }
    authorizer.stage = .anonymous
    // An anonymous header that was refused would be refused again.
    guard let source = authorizer.source else { return .giveUp }
    let anonymous = try await authorization(for: challenge, response, refused: sent, isAnonymous: true)
    guard anonymous.header != sent else { return .giveUp }
    warnRefused(source, response.status)
    return .send(anonymous.header)
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
    return try await client.tokens.refresh(tokenKey, refused: refused, isAnonymous: isAnonymous) {
      () async throws(ContentError) in
      try await repository.make(challenge, peer, isAnonymous: isAnonymous)
    }
  }

  private func make(
    _ challenge: Challenge,
    _ peer: AddressClass?,
    isAnonymous: Bool
  ) async throws(ContentError) -> TokenStore.Authorization {
    let found = isAnonymous ? nil : await client.credentials.credential(for: name)
    if case .registryToken(let token)? = found?.credential {
      return TokenStore.Authorization(
        header: Secret("Bearer \(token.value)"),
        source: found?.source,
        challenge: challenge
      )
    }
    guard challenge.scheme == "bearer" else {
      guard case .password(let username, let password)? = found?.credential else { return .none }
      let pair = Base64.encode("\(username):\(password.value)")
      return TokenStore.Authorization(
        header: Secret("Basic \(pair)"),
        source: found?.source,
        challenge: challenge
      )
    }
    guard let found else { return try await token(challenge, nil, peer) ?? .none }
    if let authorization = try await token(challenge, found, peer) { return authorization }
    // An expired password must not prevent access to public repositories.
    warnRefused(found.source, 401)
    return try await token(challenge, nil, peer) ?? .none
  }

  /// Requests a token, or returns nil if the token server refuses.
  private func token(
    _ challenge: Challenge,
    _ found: FoundCredential?,
    _ peer: AddressClass?
  ) async throws(ContentError) -> TokenStore.Authorization? {
    let request = TokenRequest(repository: self, challenge: challenge, peer: peer)
    var exchange = TokenExchange(request: request, credential: found?.credential)
    var engine = RequestEngine(self, patience: .lookUp)
    do throws(ContentError) {
      try await engine.run(&exchange)
    } catch {
      // Credentials are not sent to a private network that the registry is not in; an anonymous token may be.
      guard found != nil, let cause = error.underlying as? HTTPError, cause.code == .refusedAddress else {
        throw error
      }
      client.log.warning(
        "a token server in another network gets no credentials",
        metadata: ["registry": "\(name.registry)", "reason": "\(cause)"]
      )
      return try await token(challenge, nil, peer)
    }
    guard let token = exchange.token else { return nil }
    return TokenStore.Authorization(
      header: Secret("Bearer \(token.text)"),
      expires: .now + token.lifetime,
      source: found?.source,
      challenge: challenge
    )
  }
}
