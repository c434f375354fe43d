import Content
import HTTP

/// The Authorization header of each repository, requested once for all waiting requests.
actor TokenStore {
  /// A header and its expiry time.
  struct Authorization: Sendable {
    /// The header; nil if the registry requires none, or if there is no credential.
    let header: Secret?
    let expires: ContinuousClock.Instant?
    /// The file or helper that supplied the credential; nil for an anonymous header.
    let source: String?
    /// The challenge that the header answers.
    let challenge: Challenge?

    static let none = Authorization(header: nil)

    init(
      header: Secret?,
      expires: ContinuousClock.Instant? = nil,
      source: String? = nil,
      challenge: Challenge? = nil
    ) {
      self.header = header
      self.expires = expires
      self.source = source
      self.challenge = challenge
    }
  }

  private struct Key: Hashable {
    let scope: String
    let isAnonymous: Bool
  }

  private var known: [String: Authorization] = [:]
  private let flights = SingleFlight<Key, Authorization>()
  // The maximum number of headers; each name that is looked up below a prefix may cost a token.
  private static let limit = 1000
  private let clock = ContinuousClock()

  /// Returns the known header for a scope, or nil if there is none or it has expired.
  ///
  /// - Parameter key: The key of the scope.
  func current(_ key: String) -> Authorization? {
    guard let authorization = known[key] else { return nil }
    if let expires = authorization.expires, expires <= clock.now { return nil }
    return authorization
  }

  /// Returns the authorization that a header belongs to, even if it has expired.
  ///
  /// - Parameters:
  ///   - key: The key of the scope.
  ///   - header: The header of a request; nil for none.
  func authorization(_ key: String, of header: Secret?) -> Authorization? {
    guard let header, let authorization = known[key], authorization.header == header else { return nil }
    return authorization
  }

  /// Requests a new authorization, unless another request has replaced the refused one.
  ///
  /// - Parameters:
  ///   - key: The key of the scope.
  ///   - refused: The header that was answered with 401; nil if none was sent.
  ///   - isAnonymous: Whether no credential is used.
  ///   - make: Requests the authorization.
  /// - Returns: The current authorization.
  /// - Throws: The error of `make`.
  func refresh(
    _ key: String,
    refused: Secret?,
    isAnonymous: Bool,
    _ make: @escaping @Sendable () async throws(ContentError) -> Authorization
  ) async throws(ContentError) -> Authorization {
    if let authorization = current(key), let header = authorization.header, header != refused,
      !isAnonymous || authorization.source == nil
    {
      return authorization
    }
    return try await flights.value(for: Key(scope: key, isAnonymous: isAnonymous)) {
      () async throws(ContentError) in
      do throws(ContentError) {
        let authorization = try await make()
        await self.keep(authorization, key)
        return authorization
      } catch {
        await self.keep(nil, key)
        throw error
      }
    }
  }

  private func keep(_ authorization: Authorization?, _ key: String) {
    if known.count >= Self.limit { known = [:] }
    known[key] = authorization
  }
}
