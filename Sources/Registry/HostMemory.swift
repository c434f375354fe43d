import Content
import HTTP
import OCI
import Locking

/// What was learned of endpoints and repositories, so that the next request need not learn it again.
///
/// Of an endpoint only what is the endpoint's is kept: that no connection can be made, its scheme, and whether it
/// refuses addresses that were used before. Everything else is a repository's: one bad repository does not hurt the
/// others of its registry.
final class HostMemory: Sendable {
  private struct Key: Hashable {
    let repository: RepositoryName
    let digest: Digest
  }

  /// How a registry on this machine is spoken to.
  enum Scheme: Sendable {
    case plain
    /// Plain HTTP was answered as a TLS server does: https is tried once.
    case tryingTLS
    case tls
  }

  /// Where a blob was redirected to.
  struct Redirect: Sendable {
    let url: RequestURL
    /// What the redirect was held against.
    let rule: AddressRule?
    let since: ContinuousClock.Instant
  }

  private struct Failure {
    let error: ContentError
    let until: ContinuousClock.Instant
  }

  private struct State {
    var redirects: [Key: Redirect] = [:]
    /// Endpoints that refuse a signed address at its second use, and until when that is believed.
    var withoutReplays: [String: ContinuousClock.Instant] = [:]
    /// Refusals in a row of remembered addresses, by endpoint.
    var refusals: [String: Int] = [:]
    /// Repositories whose blobs came whole in answer to a range.
    var withoutRanges: Set<RepositoryName> = []
    /// Repositories that answered 206.
    var withRanges: Set<RepositoryName> = []
    /// Registries that were told of as serving no ranges.
    var toldWithoutRanges: Set<String> = []
    var endpointFailures: [String: Failure] = [:]
    var repositoryFailures: [RepositoryName: Failure] = [:]
    var schemes: [String: Scheme] = [:]
    /// The tag that stood for a manifest.
    var tags: [Key: String] = [:]
    /// Manifests that were fetched last, by repository.
    var manifests: [RepositoryName: [Digest]] = [:]
  }

  // Some thousand blobs are open at the most; beyond that a memory starts anew.
  private static let limit = 10_000
  // Long enough for all look-ups of one path, short enough that a host is found again soon.
  private static let failureMemory: Duration = .seconds(5)
  // An address that is refused so soon after it was given has not expired.
  private static let replayTime: Duration = .seconds(20)
  // One refusal may be a bad blob's alone: the endpoint is tried again after a while.
  private static let replayMemory: Duration = .seconds(300)
  // An endpoint whose addresses only ever expire answers some replay in between.
  private static let mostRefusals = 2
  private static let manifestLimit = 4

  private let state = Mutex(State())

  // MARK: Redirects

  func redirect(of digest: Digest, in repository: RepositoryName) -> Redirect? {
    state.withLock { $0.redirects[Key(repository: repository, digest: digest)] }
  }

  /// Remembers where a blob was redirected to, unless the endpoint refuses to be asked there again.
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

  /// Forgets where a blob was redirected to; it is asked for anew.
  ///
  /// - Parameters:
  ///   - url: the address that failed; a newer one stays.
  ///   - digest: of the blob.
  ///   - repository: of the blob.
  ///   - isRefused: the endpoint answered 4xx, and the address cannot have expired so soon.
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

  /// Notes that a remembered address was answered: its endpoint takes replays and other ranges.
  func noteReplay(of url: RequestURL) {
    state.withLock { state in
      guard !state.refusals.isEmpty else { return }
      state.refusals[url.endpoint] = nil
    }
  }

  // MARK: Failures

  /// Why a repository is not asked now: its endpoint or itself did not answer a moment ago.
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

  /// Whether a repository's blobs come whole, whatever is asked for.
  func lacksRanges(_ repository: RepositoryName) -> Bool {
    state.withLock { $0.withoutRanges.contains(repository) }
  }

  /// Whether a repository answered a range with that range.
  func hasRanges(_ repository: RepositoryName) -> Bool {
    state.withLock { $0.withRanges.contains(repository) }
  }

  /// Notes that a repository's blobs come in ranges: one answer without may have been a cache's.
  func noteRanges(_ repository: RepositoryName) {
    state.withLock { state in
      if state.withRanges.count >= Self.limit { state.withRanges = [] }
      state.withoutRanges.remove(repository)
      state.withRanges.insert(repository)
    }
  }

  /// Notes that a repository answered 200 to a range.
  ///
  /// True the first time for its registry.
  func noteWithoutRanges(_ repository: RepositoryName) -> Bool {
    state.withLock { state in
      if state.withoutRanges.count >= Self.limit { state.withoutRanges = [] }
      state.withoutRanges.insert(repository)
      state.withRanges.remove(repository)
      return state.toldWithoutRanges.insert(repository.registry).inserted
    }
  }

  // MARK: Schemes

  /// How a registry on this machine is spoken to; nil where that is not known yet.
  func scheme(of registry: String) -> Scheme? { state.withLock { $0.schemes[registry] } }

  func note(_ scheme: Scheme, of registry: String) {
    state.withLock { state in
      if state.schemes.count >= Self.limit { state.schemes = [:] }
      state.schemes[registry] = scheme
    }
  }

  // MARK: Manifests

  /// The tag that last stood for a manifest.
  func tag(of digest: Digest, in repository: RepositoryName) -> String? {
    state.withLock { $0.tags[Key(repository: repository, digest: digest)] }
  }

  func note(tag: String, of digest: Digest, in repository: RepositoryName) {
    state.withLock { state in
      if state.tags.count >= Self.limit { state.tags = [:] }
      state.tags[Key(repository: repository, digest: digest)] = tag
    }
  }

  /// The manifests that were fetched last, the newest first.
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
