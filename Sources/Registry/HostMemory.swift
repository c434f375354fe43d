import Content
import HTTP
import OCI
import Synchronization

/// What was learned of hosts: signed addresses that blobs were redirected to, and registries without ranges.
final class HostMemory: Sendable {
  private struct Key: Hashable {
    let repository: RepositoryName
    let digest: Digest
  }

  private struct State {
    var redirects: [Key: RequestURL] = [:]
    var withoutRanges: Set<String> = []
    /// Hosts that did not answer just now, and until when that is taken for granted.
    var failures: [String: (error: ContentError, until: ContinuousClock.Instant)] = [:]
  }

  // Some thousand blobs are open at the most; beyond that the memory starts anew.
  private static let redirectLimit = 10_000

  private let state = Mutex(State())

  func redirect(of digest: Digest, in repository: RepositoryName) -> RequestURL? {
    state.withLock { $0.redirects[Key(repository: repository, digest: digest)] }
  }

  func remember(_ url: RequestURL?, of digest: Digest, in repository: RepositoryName) {
    state.withLock { state in
      if state.redirects.count >= Self.redirectLimit { state.redirects = [:] }
      state.redirects[Key(repository: repository, digest: digest)] = url
    }
  }

  // Long enough for all look-ups of one path, short enough that a host is found again soon.
  private static let failureMemory: Duration = .seconds(5)

  /// Why a host is not asked now: it did not answer a moment ago.
  func failure(of host: String) -> ContentError? {
    state.withLock { state in
      guard let failure = state.failures[host], failure.until > ContinuousClock.now else { return nil }
      return failure.error
    }
  }

  func noteFailure(_ error: ContentError, of host: String) {
    state.withLock { $0.failures[host] = (error, .now + Self.failureMemory) }
  }

  /// Whether a registry's blobs come whole, whatever is asked for.
  func lacksRanges(_ registry: String) -> Bool { state.withLock { $0.withoutRanges.contains(registry) } }

  /// Notes that a registry's blobs come in ranges after all: one answer without may have been a cache's.
  func noteRanges(_ registry: String) { _ = state.withLock { $0.withoutRanges.remove(registry) } }

  /// Notes that a host answered 200 to a range.
  ///
  /// True the first time.
  func noteWithoutRanges(_ host: String) -> Bool {
    state.withLock { $0.withoutRanges.insert(host).inserted }
  }
}
