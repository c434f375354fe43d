package import Stores
package import Content
package import LocalRegistry
package import Logging
package import OCI
package import Telemetry

/// Resolves references: from the local registry if that is final, else by asking the registry, with a cache.
package actor ReferenceResolver {
  /// The result of resolving a reference.
  package struct Resolution: Sendable {
    package let descriptor: Descriptor
    /// The artifact on this machine, if present.
    package let local: LocalArtifact?
    /// When the result expires.
    package let expires: ContinuousClock.Instant
  }

  private struct Memory {
    let result: Result<Resolution, ContentError>
    let since = ContinuousClock.now
    let expires: ContinuousClock.Instant
  }

  private let local: LocalRegistry
  private let remote: any RepositoryProvider
  private var options: ResolutionOptions
  private let metrics: Metrics
  private let log: Logger
  private var memory: [Reference: Memory] = [:]
  // The answer to a stale tag arrives behind the caller.
  private let flights = SingleFlight<Reference, Resolution>(outlivesCallers: true)

  // When the cache exceeds this number of references it is cleared; each entry takes some hundred bytes.
  private static let limit = 50_000

  /// Creates a resolver.
  ///
  /// - Parameters:
  ///   - local: The local registry, asked first.
  ///   - remote: The registries, asked if the local artifact is not final.
  ///   - options: Times to live, and whether requests may be sent.
  ///   - metrics: Counts stale answers.
  ///   - log: Receives messages for the operator.
  package init(
    local: LocalRegistry,
    remote: any RepositoryProvider,
    options: ResolutionOptions,
    metrics: Metrics,
    log: Logger
  ) {
    self.local = local
    self.remote = remote
    self.options = options
    self.metrics = metrics
    self.log = log
  }

  /// Replaces the times of the options, for answers that arrive from now on.
  package func setTimes(timeToLive: Duration, staleWait: Duration) {
    options.timeToLive = timeToLive
    options.staleWait = staleWait
  }

  /// Resolves a reference.
  ///
  /// If the registry of a known tag takes longer than `staleWait`, returns the last known answer; the new
  /// answer updates the cache when it arrives.
  ///
  /// - Parameters:
  ///   - reference: A reference with a tag or a digest.
  ///   - isFresh: Asks the registry even if an answer is cached or the local artifact is final (`pull`).
  ///   - found: The artifact in the local registry, if it was just looked up.
  /// - Returns: The descriptor of the manifest, or of the index it is selected from.
  /// - Throws: `ContentError`.
  package func resolve(
    _ reference: Reference,
    isFresh: Bool = false,
    found: LocalArtifact? = nil
  ) async throws(ContentError) -> Resolution {
    if !isFresh, let known = goodAnswer(reference) { return try known.get() }
    var local = found
    if local == nil {
      local = try await self.local.artifact(reference)
      // A concurrent call may have cached an answer meanwhile.
      if !isFresh, let known = goodAnswer(reference) { return try known.get() }
    }
    if let local, isFinal(local, reference, isFresh: isFresh) {
      let resolution = Resolution(
        descriptor: local.descriptor,
        local: local,
        expires: .now + options.timeToLive
      )
      remember(reference, .success(resolution))
      return resolution
    }
    guard !options.isOffline else {
      throw ContentError(
        .offline,
        "\(reference)",
        "is not in the local registry, and --offline forbids requests",
        advice: "Pull it without --offline"
      )
    }
    let artifact = local
    let ask: SingleFlight<Reference, Resolution>.Work = { () async throws(ContentError) in
      try await self.ask(reference, artifact)
    }
    guard !isFresh, options.acceptsStale, let known = lastKnown(reference, artifact) else {
      return try await flights.value(for: reference, isFresh: isFresh, ask)
    }
    if let answer = try await flights.value(for: reference, within: options.staleWait, ask) { return answer }
    metrics.staleResolutions.add()
    return known
  }

  /// Whether the artifact in the local registry is used without asking the registry.
  private func isFinal(_ found: LocalArtifact, _ reference: Reference, isFresh: Bool) -> Bool {
    found.isAdditional || (!isFresh && (!found.wasFetched || reference.digest != nil)) || options.isOffline
  }

  /// Returns the last known resolution of a tag whose time to live has passed, or nil.
  private func lastKnown(_ reference: Reference, _ local: LocalArtifact?) -> Resolution? {
    // The last answer of the registry is newer than the local record, which is written when a directory is
    // first used.
    if case .success(let known)? = memory[reference]?.result {
      let same = local?.descriptor.digest == known.descriptor.digest ? local : nil
      return Resolution(descriptor: known.descriptor, local: same, expires: .now)
    }
    return local.map { Resolution(descriptor: $0.descriptor, local: $0, expires: .now) }
  }

  /// Asks the registry, and caches the answer.
  private func ask(
    _ reference: Reference,
    _ local: LocalArtifact?
  ) async throws(ContentError) -> Resolution {
    do throws(ContentError) {
      let resolution = try await askRegistry(reference, local)
      remember(reference, .success(resolution))
      return resolution
    } catch {
      if error.code != .cancelled { remember(reference, .failure(error)) }
      throw error
    }
  }

  /// Forgets a resolution to a manifest that cannot be read, unless it is less than a second old, so that the
  /// registry is asked again.
  ///
  /// - Parameters:
  ///   - reference: The reference.
  ///   - digest: The digest that it resolved to.
  package func distrust(_ reference: Reference, _ digest: Digest) {
    guard let known = memory[reference], case .success(let resolution) = known.result,
      resolution.descriptor.digest == digest, ContinuousClock.now - known.since > .seconds(1)
    else { return }
    memory[reference] = nil
  }

  /// Returns the cached resolution, or nil if there is none or it has expired.
  package func remembered(_ reference: Reference) -> Resolution? {
    guard case .success(let resolution)? = goodAnswer(reference) else { return nil }
    return resolution
  }

  /// Returns the cached answer, possibly a failure, unless it has expired.
  private func goodAnswer(_ reference: Reference) -> Result<Resolution, ContentError>? {
    guard let known = memory[reference], known.expires > ContinuousClock.now else { return nil }
    return known.result
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
      // A host that does not answer is asked again soon, but not for every look-up of one `ls`.
      memory[reference] = Memory(result: result, expires: .now + .seconds(1))
    }
  }

  private func askRegistry(
    _ reference: Reference,
    _ found: LocalArtifact?
  ) async throws(ContentError) -> Resolution {
    do throws(ContentError) {
      let descriptor = try await remote.repository(reference.repository).resolve(reference.target)
      let same = found?.descriptor.digest == descriptor.digest ? found : nil
      return Resolution(descriptor: descriptor, local: same, expires: .now + options.timeToLive)
    } catch {
      // The content of a digest cannot change.
      guard let known = lastKnown(reference, found), options.acceptsStale || reference.digest != nil,
        [.unreachable, .timedOut, .invalid, .corrupt].contains(error.code)
      else { throw error }
      metrics.staleResolutions.add()
      log.warning(
        "the registry does not answer: using the last known resolution",
        metadata: ["reference": "\(reference)", "digest": "\(known.descriptor.digest)", "reason": "\(error)"]
      )
      return Resolution(descriptor: known.descriptor, local: known.local, expires: .now + .seconds(5))
    }
  }
}
