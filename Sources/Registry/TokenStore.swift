import Content
import HTTP

/// The Authorization header of each repository, fetched once for all requests that wait for it.
actor TokenStore {
  /// A header and the time until which it may be sent.
  struct Authorization: Sendable {
    /// Nil where the registry wants none, or there is no credential.
    let header: Secret?
    let expires: ContinuousClock.Instant?
    /// The file or the helper whose credential it was made of; nil for an anonymous one.
    let source: String?
    /// The challenge that it answers.
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
  // Every name that is looked up below a prefix may cost a token.
  private static let limit = 1000
  private let clock = ContinuousClock()

  /// The header to send first, without asking anybody.
  ///
  /// - Parameter key: of the scope.
  /// - Returns: nil where there is none.
  func current(_ key: String) -> Authorization? {
    guard let authorization = known[key] else { return nil }
    if let expires = authorization.expires, expires <= clock.now { return nil }
    return authorization
  }

  /// The authorization that a header belongs to, also an expired one.
  ///
  /// - Parameters:
  ///   - key: of the scope.
  ///   - header: that a request was sent with; nil for none.
  func authorization(_ key: String, of header: Secret?) -> Authorization? {
    guard let header, let authorization = known[key], authorization.header == header else { return nil }
    return authorization
  }

  /// Makes a new authorization, unless somebody else made one since.
  ///
  /// - Parameters:
  ///   - key: of the scope.
  ///   - refused: the header that was answered with 401, if one was sent.
  ///   - isAnonymous: without a credential.
  ///   - make: asks for one.
  /// - Returns: the authorization that is good now.
  /// - Throws: what `make` throws.
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
