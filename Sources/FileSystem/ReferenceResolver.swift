package import Content
package import LocalRegistry
package import Logging
package import OCI
package import Telemetry

/// What a reference stands for: locally where that is final, else by its registry, remembered for a while.
package actor ReferenceResolver {
  /// An answer.
  package struct Resolution: Sendable {
    package let descriptor: Descriptor
    /// Where it lies on this machine, if it does.
    package let local: LocalArtifact?
    /// Until when it is good.
    let expires: ContinuousClock.Instant
  }

  private struct Memory {
    let result: Result<Resolution, ContentError>
    let expires: ContinuousClock.Instant
  }

  private let local: LocalRegistry
  private let remote: any RepositoryProvider
  private let options: FileSystemOptions
  private let metrics: Metrics
  private let log: Logger
  private var memory: [Reference: Memory] = [:]
  private var pending: [Reference: Task<Result<Resolution, ContentError>, Never>] = [:]

  // Beyond this many references the memory starts anew; each costs some hundred bytes.
  private static let limit = 50_000

  /// Makes a resolver.
  ///
  /// - Parameters:
  ///   - local: asked first.
  ///   - remote: asked for what is not final locally.
  ///   - options: times to live, and whether there is a network.
  ///   - metrics: where stale answers are counted.
  ///   - log: for what a user should know.
  package init(
    local: LocalRegistry,
    remote: any RepositoryProvider,
    options: FileSystemOptions,
    metrics: Metrics,
    log: Logger
  ) {
    self.local = local
    self.remote = remote
    self.options = options
    self.metrics = metrics
    self.log = log
  }

  /// Resolves a reference.
  ///
  /// - Parameters:
  ///   - reference: with a tag or a digest.
  ///   - isFresh: asks the registry although an answer is remembered, or the local one is final (`pull`).
  ///   - found: what the local registry has, where that was just looked up.
  /// - Returns: what was asked for.
  /// - Throws: `ContentError`.
  package func resolve(
    _ reference: Reference,
    isFresh: Bool = false,
    found: LocalArtifact? = nil
  ) async throws(ContentError) -> Resolution {
    if !isFresh, let known = memory[reference], known.expires > ContinuousClock.now {
      return try known.result.get()
    }
    let task: Task<Result<Resolution, ContentError>, Never>
    if let running = pending[reference], !isFresh {
      task = running
    } else {
      task = Task {
        do throws(ContentError) {
          return .success(try await self.ask(reference, isFresh: isFresh, found))
        } catch {
          return .failure(error)
        }
      }
      pending[reference] = task
    }
    let result = await task.value
    if pending[reference] == task { pending[reference] = nil }
    remember(reference, result)
    return try result.get()
  }

  /// The answer that is remembered, if it is good.
  ///
  /// - Parameter reference: what may have been resolved.
  /// - Returns: nil where there is none.
  package func remembered(_ reference: Reference) -> Resolution? {
    guard let known = memory[reference], known.expires > ContinuousClock.now else { return nil }
    return try? known.result.get()
  }

  private func remember(_ reference: Reference, _ result: Result<Resolution, ContentError>) {
    if memory.count >= Self.limit { memory = [:] }
    switch result {
    case .success(let resolution):
      memory[reference] = Memory(result: result, expires: resolution.expires)
    case .failure where options.isOffline: break
    case .failure(let error) where error.code == .notFound || error.code == .unauthorized:
      memory[reference] = Memory(result: result, expires: .now + options.negativeTimeToLive)
    case .failure:
      // A host that does not answer is asked again soon, but not by every look-up of one `ls`.
      memory[reference] = Memory(result: result, expires: .now + .seconds(1))
    }
  }

  private func ask(
    _ reference: Reference,
    isFresh: Bool,
    _ known: LocalArtifact?
  ) async throws(ContentError) -> Resolution {
    var found = known
    if found == nil { found = try await local.artifact(reference) }
    let expires = ContinuousClock.now + options.timeToLive
    if let found {
      let isPinned = reference.digest != nil
      if found.isAdditional || (!isFresh && (!found.wasFetched || isPinned)) || options.isOffline {
        return Resolution(descriptor: found.descriptor, local: found, expires: expires)
      }
    }
    guard !options.isOffline else {
      throw ContentError(
        .offline,
        "\(reference)",
        "is not in the local registry, and weightfs is offline",
        advice: "Pull it while there is a network"
      )
    }
    do throws(ContentError) {
      let descriptor = try await remote.repository(reference.repository).resolve(reference.target)
      let same = found?.descriptor.digest == descriptor.digest ? found : nil
      return Resolution(descriptor: descriptor, local: same, expires: expires)
    } catch {
      // What a digest stands for does not change.
      guard let found, options.acceptsStale || reference.digest != nil,
        [.unreachable, .timedOut, .invalid, .corrupt].contains(error.code)
      else { throw error }
      metrics.staleResolutions.add()
      log.warning(
        "a registry does not answer: the last known resolution stays in force",
        metadata: ["reference": "\(reference)", "digest": "\(found.descriptor.digest)", "reason": "\(error)"]
      )
      return Resolution(descriptor: found.descriptor, local: found, expires: .now + .seconds(5))
    }
  }
}
