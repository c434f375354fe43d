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

  /// Notes that a host answered 200 to a range.
  ///
  /// True the first time.
  func noteWithoutRanges(_ host: String) -> Bool {
    state.withLock { $0.withoutRanges.insert(host).inserted }
  }
}
