import Content
import HTTP
import OCI
import Locking

/// Facts learned about endpoints and repositories, kept in memory for later requests.
///
/// An endpoint's own facts are its connection failures, its scheme, and whether it refuses signed addresses
/// that were used before. All other facts belong to a repository, so that a bad repository does not affect
/// other repositories of its registry.
final class HostMemory: Sendable {
  private struct Key: Hashable {
    let repository: RepositoryName
    let digest: Digest
  }

  /// The scheme of a registry on this machine.
  enum Scheme: Sendable {
    case plain
    /// Plain HTTP got the response of a TLS server: https is tried once.
    case tryingTLS
    case tls
  }

  /// The target of a blob's redirect.
  struct Redirect: Sendable {
    let url: RequestURL
    /// The address rule that the redirect was checked with; nil for none.
    let rule: AddressRule?
    let since: ContinuousClock.Instant
  }

  private struct Failure {
    let error: ContentError
    let until: ContinuousClock.Instant
  }

  private struct State {
    var redirects: [Key: Redirect] = [:]
    /// Endpoints that refuse the second use of a signed address, and the time at which that entry expires.
    var withoutReplays: [String: ContinuousClock.Instant] = [:]
    /// The number of consecutive refusals of remembered addresses, by endpoint.
    var refusals: [String: Int] = [:]
    /// Repositories that answered a range request with the complete blob.
    var withoutRanges: Set<RepositoryName> = []
    /// Repositories that answered 206.
    var withRanges: Set<RepositoryName> = []
    /// Registries for which the missing support of ranges was logged.
    var toldWithoutRanges: Set<String> = []
    var endpointFailures: [String: Failure] = [:]
    var repositoryFailures: [RepositoryName: Failure] = [:]
    var schemes: [String: Scheme] = [:]
    /// The tag that each manifest was resolved from.
    var tags: [Key: String] = [:]
    /// The most recently fetched manifests, by repository.
    var manifests: [RepositoryName: [Digest]] = [:]
  }

  // The maximum number of entries of each table; at most a few thousand blobs are open. A full table is
  // cleared.
  private static let limit = 10_000
  // Long enough for all lookups of one path, short enough to notice soon that a host is reachable again.
  private static let failureMemory: Duration = .seconds(5)
  // An address that is refused within this time after its redirect has not expired.
  private static let replayTime: Duration = .seconds(20)
  // One refusal may concern a single bad blob: the endpoint is tried again after this time.
  private static let replayMemory: Duration = .seconds(300)
  // An endpoint whose addresses only expire also answers some replays in between.
  private static let mostRefusals = 2
  private static let manifestLimit = 4

  private let state = Mutex(State())

  // MARK: Redirects

  func redirect(of digest: Digest, in repository: RepositoryName) -> Redirect? {
    state.withLock { $0.redirects[Key(repository: repository, digest: digest)] }
  }

  /// Remembers the target of a blob's redirect, unless its endpoint refuses replays.
  func remember(
    _ url: RequestURL,
    _ rule: AddressRule?,
    of digest: Digest,
    in repository: RepositoryName,
    now: ContinuousClock.Instant = .now
  ) {
    state.withLock { state in
      if let until = state.withoutReplays[url.endpoint], until > now { return }
      if state.redirects.count >= Self.limit { state.redirects = [:] }
      let key = Key(repository: repository, digest: digest)
      if state.redirects[key]?.url == url { return }
      state.redirects[key] = Redirect(url: url, rule: rule, since: now)
    }
  }

  /// Forgets the target of a blob's redirect; the next request goes to the registry.
  ///
  /// - Parameters:
  ///   - url: The address that failed; a newer address is kept.
  ///   - digest: The digest of the blob.
  ///   - repository: The repository of the blob.
  ///   - isRefused: Whether the endpoint refused the address or sent wrong bytes.
  ///   - now: The current time.
  func forget(
    _ url: RequestURL,
    of digest: Digest,
    in repository: RepositoryName,
    isRefused: Bool,
    now: ContinuousClock.Instant = .now
  ) {
    state.withLock { state in
      let key = Key(repository: repository, digest: digest)
      guard let known = state.redirects[key], known.url == url else { return }
      state.redirects[key] = nil
      guard isRefused else { return }
      let endpoint = known.url.endpoint
      if state.refusals.count >= Self.limit { state.refusals = [:] }
      state.refusals[endpoint, default: 0] += 1
      guard now - known.since < Self.replayTime || state.refusals[endpoint, default: 0] >= Self.mostRefusals
      else { return }
      if state.withoutReplays.count >= Self.limit { state.withoutReplays = [:] }
      state.withoutReplays[endpoint] = now + Self.replayMemory
      state.refusals[endpoint] = nil
    }
  }

  /// Notes that a remembered address was answered: its endpoint accepts replays and other ranges.
  func noteReplay(of url: RequestURL) {
    state.withLock { state in
      guard !state.refusals.isEmpty else { return }
      state.refusals[url.endpoint] = nil
    }
  }

  // MARK: Failures

  /// Returns the recent failure of a repository or of its endpoint, or nil if requests may be sent.
  func failure(of repository: RepositoryName) -> ContentError? {
    let now = ContinuousClock.now
    return state.withLock { state in
      let known = [state.endpointFailures[repository.registry], state.repositoryFailures[repository]]
      return known.compactMap { $0 }.first { $0.until > now }?.error
    }
  }

  func noteFailure(_ error: ContentError, of repository: RepositoryName, isEndpoint: Bool) {
    let failure = Failure(error: error, until: .now + Self.failureMemory)
    state.withLock { state in
      if isEndpoint {
        if state.endpointFailures.count >= Self.limit { state.endpointFailures = [:] }
        state.endpointFailures[repository.registry] = failure
      } else {
        if state.repositoryFailures.count >= Self.limit { state.repositoryFailures = [:] }
        state.repositoryFailures[repository] = failure
      }
    }
  }

  // MARK: Ranges

  /// Returns whether a repository answers range requests with the complete blob.
  func lacksRanges(_ repository: RepositoryName) -> Bool {
    state.withLock { $0.withoutRanges.contains(repository) }
  }

  /// Returns whether a repository answered a range request with that range.
  func hasRanges(_ repository: RepositoryName) -> Bool {
    state.withLock { $0.withRanges.contains(repository) }
  }

  /// Notes that a repository serves ranges; an earlier answer without a range may have come from a cache.
  func noteRanges(_ repository: RepositoryName) {
    state.withLock { state in
      if state.withRanges.count >= Self.limit { state.withRanges = [] }
      state.withoutRanges.remove(repository)
      state.withRanges.insert(repository)
    }
  }

  /// Notes that a repository answered 200 to a range request.
  ///
  /// - Returns: Whether this is the first such answer of its registry.
  func noteWithoutRanges(_ repository: RepositoryName) -> Bool {
    state.withLock { state in
      if state.withoutRanges.count >= Self.limit { state.withoutRanges = [] }
      state.withoutRanges.insert(repository)
      state.withRanges.remove(repository)
      return state.toldWithoutRanges.insert(repository.registry).inserted
    }
  }

  // MARK: Schemes

  /// Returns the scheme of a registry on this machine, or nil if it is not known yet.
  func scheme(of registry: String) -> Scheme? { state.withLock { $0.schemes[registry] } }

  func note(_ scheme: Scheme, of registry: String) {
    state.withLock { state in
      if state.schemes.count >= Self.limit { state.schemes = [:] }
      state.schemes[registry] = scheme
    }
  }

  // MARK: Manifests

  /// Returns the tag that a manifest was last resolved from, or nil if none is known.
  func tag(of digest: Digest, in repository: RepositoryName) -> String? {
    state.withLock { $0.tags[Key(repository: repository, digest: digest)] }
  }

  func note(tag: String, of digest: Digest, in repository: RepositoryName) {
    state.withLock { state in
      if state.tags.count >= Self.limit { state.tags = [:] }
      state.tags[Key(repository: repository, digest: digest)] = tag
    }
  }

  /// Returns the most recently fetched manifests, newest first.
  func manifests(of repository: RepositoryName) -> [Digest] {
    state.withLock { $0.manifests[repository] ?? [] }
  }

  func note(manifest digest: Digest, in repository: RepositoryName) {
    state.withLock { state in
      if state.manifests.count >= Self.limit { state.manifests = [:] }
      let others = (state.manifests[repository] ?? []).filter { $0 != digest }
      state.manifests[repository] = Array(([digest] + others).prefix(Self.manifestLimit))
    }
  }
}
