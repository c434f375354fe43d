import HTTP

/// Chooses the remedy for a response that refuses an exchange.
///
/// Pure. Each remedy is tried once, so that every exchange ends:
///
///     answered by                     status            remedy, in this order
///     a remembered address            4xx *             ask the registry for another address
///     a redirect's target             401, same host    authorization, as for the registry
///                                     4xx *, same host  once more without Authorization
///                                     401, 403          once more with Referer
///                                     4xx *             ask the registry for another address, once
///     the registry                    401; 403 *²       authorization
///                                     404               request the manifest, then the blob once more
///     any of them                     408, 429, 5xx     the same request after a delay
///
///     a token server                  4xx               none
///
/// * except 408, 416 and 429. *² for a request with an Authorization header: its password may have expired,
/// or anonymous access may be allowed where the credential is refused.
struct TransferAttempts: Sendable {
  /// The host that answered.
  enum Source: Sendable, Equatable {
    case registry
    /// The target of an earlier redirect, used without asking the registry.
    case remembered
    /// The target of the registry's redirect.
    case redirect(isSameOrigin: Bool)
    case tokenServer
  }

  /// The next step.
  enum Step: Sendable, Equatable {
    /// The remembered address is no longer valid.
    case askRegistry
    case withoutAuthorization
    case withReferer
    case authorize
    /// A pull-through cache has a blob only after its manifest was requested.
    case askManifest
    /// The same request after a delay.
    case wait
    case fail
  }

  private(set) var hasReferer = false
  private(set) var isWithoutAuthorization = false
  private var hasAuthorized = false
  private var hasAskedAgain = false
  private var hasAskedManifest = false

  /// Chooses the next step after an unsuccessful status.
  ///
  /// - Parameters:
  ///   - status: The status of the response.
  ///   - source: The host that answered.
  ///   - sent: The Authorization header of the request; nil for none.
  ///   - isDocument: Whether a manifest was requested, not a blob.
  ///   - isChallenge: Whether the response has a challenge.
  mutating func handle(
    _ status: Int,
    from source: Source,
    sent: Secret?,
    isDocument: Bool,
    isChallenge: Bool
  ) -> Step {
    if RetryPolicy.isTransient(status) { return .wait }
    switch source {
    case .tokenServer: return .fail
    case .remembered:
      return (400..<500).contains(status) && status != 416 ? .askRegistry : .fail
    case .redirect(let isSameOrigin):
      guard (400..<500).contains(status), status != 416 else { return .fail }
      // The registry's own host: a proxy that redirects to another path of its own.
      if isSameOrigin, isChallenge, status == 401, !hasAuthorized {
        hasAuthorized = true
        return .authorize
      }
      if isSameOrigin, sent != nil, !isWithoutAuthorization {
        isWithoutAuthorization = true
        return .withoutAuthorization
      }
      if status == 401 || status == 403, !hasReferer {
        hasReferer = true
        return .withReferer
      }
      guard !hasAskedAgain else { return .fail }
      hasAskedAgain = true
      // Another address: the registry's own response requires the header.
      isWithoutAuthorization = false
      return .askRegistry
    case .registry:
      if status == 401 || (status == 403 && sent != nil) { return .authorize }
      guard status == 404, !isDocument, !hasAskedManifest else { return .fail }
      hasAskedManifest = true
      return .askManifest
    }
  }

  /// Makes remedies available again after bytes arrived.
  mutating func progressed() {
    hasAuthorized = false
    hasAskedAgain = false
    hasAskedManifest = false
  }
}
