import HTTP

/// The remedy for a response that refuses an exchange.
///
/// Pure. Each remedy is tried once, so that every exchange ends:
///
///     who answered                    status            remedy, in this order
///     a remembered address            4xx *             the registry is asked for another address
///     a redirect's target             401, same host    authorization, as from the registry
///                                     4xx *, same host  once more without Authorization
///                                     401, 403          once more with Referer
///                                     4xx *             the registry is asked for another address, once
///     the registry                    401; 403 *²       authorization
///                                     404               the manifest is asked for, then the blob once more
///     any of them                     408, 429, 5xx     the same again after a delay
///
///     a token server                  4xx               none
///
/// * but 408, 416 and 429. *² for a request with an Authorization header: its password may have expired, or an
/// anonymous reader may read what the credential's owner may not.
struct TransferAttempts: Sendable {
  /// Who answered.
  enum Source: Sendable, Equatable {
    case registry
    /// An address of an earlier redirect, asked without the registry.
    case remembered
    /// Where the registry redirected to.
    case redirect(isSameOrigin: Bool)
    case tokenServer
  }

  /// What to do next.
  enum Step: Sendable, Equatable {
    /// The remembered address is of no use any more.
    case askRegistry
    case withoutAuthorization
    case withReferer
    case authorize
    /// A pull-through cache has a blob only once its manifest was asked for.
    case askManifest
    /// The same again, later.
    case wait
    case fail
  }

  private(set) var hasReferer = false
  private(set) var isWithoutAuthorization = false
  private var hasAuthorized = false
  private var hasAskedAgain = false
  private var hasAskedManifest = false

  /// Takes a status that is no success.
  ///
  /// - Parameters:
  ///   - status: of the response.
  ///   - source: who answered.
  ///   - sent: the Authorization header that the request had; nil for none.
  ///   - isDocument: a manifest was asked for, not a blob.
  ///   - isChallenge: the response says how to authorize.
  /// - Returns: the next step.
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
      // The registry's own host: a proxy that leads to another path of itself.
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
      // Another address, another chance: what the registry itself answers must have the header.
      isWithoutAuthorization = false
      return .askRegistry
    case .registry:
      if status == 401 || (status == 403 && sent != nil) { return .authorize }
      guard status == 404, !isDocument, !hasAskedManifest else { return .fail }
      hasAskedManifest = true
      return .askManifest
    }
  }

  /// Bytes came: what failed before may be tried again.
  mutating func progressed() {
    hasAuthorized = false
    hasAskedAgain = false
    hasAskedManifest = false
  }
}
