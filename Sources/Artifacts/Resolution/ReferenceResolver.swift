package import Stores
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
    package let expires: ContinuousClock.Instant
  }

  private struct Memory {
    let result: Result<Resolution, ContentError>
    let since = ContinuousClock.now
    let expires: ContinuousClock.Instant
  }

  /// A registry is being asked, once for all who want to know.
  private struct Question {
    let task: Task<Result<Resolution, ContentError>, Never>
    let begun = ContinuousClock.now
  }

  private let local: LocalRegistry
  private let remote: any RepositoryProvider
  private let options: ResolutionOptions
  private let metrics: Metrics
  private let log: Logger
  private var memory: [Reference: Memory] = [:]
  private var questions: [Reference: Question] = [:]

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

  /// Resolves a reference.
  ///
  /// The last known answer of a tag whose registry takes longer than `staleWait` is given, and refreshed behind.
  ///
  /// - Parameters:
  ///   - reference: with a tag or a digest.
  ///   - isFresh: asks the registry although an answer is remembered, or the local one is final (`pull`).
  ///   - found: what the local registry has, where that was just looked up.
  /// - Returns: the descriptor of the manifest, or of the index it is chosen from.
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
      // The answer to another who asked may have come meanwhile.
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
        "is not in the local registry, and weightfs is offline",
        advice: "Pull it while there is a network"
      )
    }
    let question = ask(reference, isFresh: isFresh, local)
    guard !isFresh, options.acceptsStale, let known = lastKnown(reference, local) else {
      return try await question.task.value.get()
    }
    let patience = options.staleWait - (ContinuousClock.now - question.begun)
    if let answer = await question.task.value(within: patience) { return try answer.get() }
    metrics.staleResolutions.add()
    return known
  }

  /// Whether the local registry's answer needs no other.
  private func isFinal(_ found: LocalArtifact, _ reference: Reference, isFresh: Bool) -> Bool {
    found.isAdditional || (!isFresh && (!found.wasFetched || reference.digest != nil)) || options.isOffline
  }

  /// What a tag stood for when it was last known; its time to live is over.
  private func lastKnown(_ reference: Reference, _ local: LocalArtifact?) -> Resolution? {
    // What the registry said last is newer than what was recorded when a folder was last looked into.
    if case .success(let known)? = memory[reference]?.result {
      let same = local?.descriptor.digest == known.descriptor.digest ? local : nil
      return Resolution(descriptor: known.descriptor, local: same, expires: .now)
    }
    return local.map { Resolution(descriptor: $0.descriptor, local: $0, expires: .now) }
  }

  /// Asks the registry, together with all who ask at the same time.
  private func ask(_ reference: Reference, isFresh: Bool, _ local: LocalArtifact?) -> Question {
    if !isFresh, let running = questions[reference] { return running }
    let question = Question(
      task: Task {
        let result: Result<Resolution, ContentError>
        do throws(ContentError) {
          result = .success(try await self.askRegistry(reference, local))
        } catch {
          result = .failure(error)
        }
        self.finish(reference, result)
        return result
      }
    )
    questions[reference] = question
    return question
  }

  private func finish(_ reference: Reference, _ result: Result<Resolution, ContentError>) {
    questions[reference] = nil
    remember(reference, result)
  }

  /// Forgets an answer that led to no readable manifest, unless it is as good as new: the registry is asked again.
  ///
  /// - Parameters:
  ///   - reference: what was resolved.
  ///   - digest: what it was said to stand for.
  package func distrust(_ reference: Reference, _ digest: Digest) {
    guard let known = memory[reference], case .success(let resolution) = known.result,
      resolution.descriptor.digest == digest, ContinuousClock.now - known.since > .seconds(1)
    else { return }
    memory[reference] = nil
  }

  /// The answer that is remembered, if it is good.
  ///
  /// - Parameter reference: what may have been resolved.
  /// - Returns: nil where there is none.
  package func remembered(_ reference: Reference) -> Resolution? {
    guard case .success(let resolution)? = goodAnswer(reference) else { return nil }
    return resolution
  }

  /// What is remembered of a reference and not too old, failures among it.
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
      // A host that does not answer is asked again soon, but not by every look-up of one `ls`.
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
