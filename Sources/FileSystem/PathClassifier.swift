package import Artifacts
import Stores
import Content
package import LocalRegistry
package import OCI

/// Determines what a name below a registry stands for: an artifact, a repository, a namespace, or nothing.
package actor PathClassifier {
  /// The result of a classification.
  package enum Class: Sendable {
    /// An artifact, with its resolution if it was resolved and not only listed.
    case artifact(Reference, ReferenceResolver.Resolution?)
    /// A repository; unconfirmed names below it do not exist.
    case repository
    /// A level above repositories, which need not be confirmed by a registry.
    case namespace(isConfirmed: Bool)
    case absent
  }

  private struct Key: Hashable {
    let registry: String
    let components: [String]
    let name: String
  }

  private struct Memory {
    let answer: Class
    let expires: ContinuousClock.Instant
  }

  private let local: LocalRegistry
  private let remote: any RepositoryProvider
  private let resolver: ReferenceResolver
  private let options: FileSystemOptions
  private var memory: [Key: Memory] = [:]
  private let flights = SingleFlight<Key, Class>()
  /// Tags from the last tag list, by repository.
  private var listed: [RepositoryName: (tags: Set<String>, expires: ContinuousClock.Instant)] = [:]

  private static let limit = 50_000

  /// Creates a classifier.
  ///
  /// - Parameters:
  ///   - local: The local registry, asked first.
  ///   - remote: The registries, asked whether repositories exist.
  ///   - resolver: Asked whether tags exist.
  ///   - options: Times to live, and the depth of namespaces.
  package init(
    local: LocalRegistry,
    remote: any RepositoryProvider,
    resolver: ReferenceResolver,
    options: FileSystemOptions
  ) {
    self.local = local
    self.remote = remote
    self.resolver = resolver
    self.options = options
  }

  /// Classifies a name that may be a tag, a repository or a namespace.
  ///
  /// - Parameters:
  ///   - name: The name.
  ///   - prefix: The directory of the look-up.
  ///   - mayBeComponent: Whether the grammar allows the name as a path component.
  ///   - mayBeTag: Whether the grammar allows the name as a tag.
  /// - Throws: `ContentError` if a registry that must be asked does not answer.
  func classify(
    _ name: String,
    in prefix: Prefix,
    mayBeComponent: Bool,
    mayBeTag: Bool
  ) async throws(ContentError) -> Class {
    if mayBeTag, let repository = prefix.repository, isListed(name, in: repository) {
      let reference = Reference(repository: repository, target: .tag(name))
      return .artifact(reference, await resolver.remembered(reference))
    }
    let key = Key(registry: prefix.registry, components: prefix.components, name: name)
    if let known = memory[key], known.expires > ContinuousClock.now { return known.answer }
    return try await flights.value(for: key) { () async throws(ContentError) in
      let answer = try await self.ask(
        name,
        in: prefix,
        mayBeComponent: mayBeComponent,
        mayBeTag: mayBeTag
      )
      await self.keep(answer, key)
      return answer
    }
  }

  private func keep(_ answer: Class, _ key: Key) {
    if memory.count >= Self.limit { memory = [:] }
    switch answer {
    // The resolver caches the answer for a tag, with its time to live.
    case .artifact: break
    case .repository: memory[key] = Memory(answer: answer, expires: .now + options.resolution.timeToLive)
    // A look-up in the local registry costs almost nothing, so nothing is cached when offline.
    case .namespace, .absent:
      if options.resolution.isOffline { break }
      memory[key] = Memory(answer: answer, expires: .now + options.resolution.negativeTimeToLive)
    }
  }

  /// Remembers a tag list.
  func note(_ tags: [String], of repository: RepositoryName) {
    if listed.count >= 1000 { listed = [:] }
    listed[repository] = (Set(tags), .now + options.resolution.timeToLive)
  }

  private func isListed(_ tag: String, in repository: RepositoryName) -> Bool {
    guard let list = listed[repository], list.expires > ContinuousClock.now else { return false }
    return list.tags.contains(tag)
  }

  private func ask(
    _ name: String,
    in prefix: Prefix,
    mayBeComponent: Bool,
    mayBeTag: Bool
  ) async throws(ContentError) -> Class {
    let (known, artifact) = await local.child(name, registry: prefix.registry, components: prefix.components)
    // A known name needs no request.
    if options.resolution.isOffline, !known.isTag, known.isComponent {
      return known.isRepository ? .repository : .namespace(isConfirmed: true)
    }
    if known.isTag {
      let answer = await tagAnswer(name, in: prefix, mayBeTag: mayBeTag, isKnown: true, artifact)
      if case .success(let answer?) = answer { return answer }
    }
    // Asked in parallel. A tag takes precedence, and does not wait for the list, nor for the token of the list.
    let repository = Task {
      await self.repositoryAnswer(name, in: prefix, mayBeComponent: mayBeComponent, known)
    }
    defer { repository.cancel() }
    let tagResult = await tagAnswer(name, in: prefix, mayBeTag: mayBeTag, isKnown: known.isTag)
    if case .success(let answer?) = tagResult { return answer }
    // A tag takes precedence, so its absence must be certain: a failed request does not prove absence.
    if case .failure(let error) = tagResult {
      // If the registry does not answer, the local registry decides.
      guard known.isComponent else { throw error }
      return known.isRepository ? .repository : .namespace(isConfirmed: true)
    }
    let repositoryResult = await withTaskCancellationHandler {
      await repository.value
    } onCancel: {
      repository.cancel()
    }
    if case .success(let answer?) = repositoryResult { return answer }
    if case .failure(let error) = repositoryResult { throw error }
    guard mayBeComponent else { return .absent }
    if options.namespaces.contains(
      "\(prefix.registry)/\((prefix.components + [name]).joined(separator: "/"))"
    ) {
      return .namespace(isConfirmed: false)
    }
    guard !prefix.isKnownRepository, prefix.components.count < options.namespaceDepth,
      !NameRules.looksLikeFile(name), !options.resolution.isOffline
    else { return .absent }
    let hasTags = await local.hasTags(registry: prefix.registry, components: prefix.components)
    return hasTags ? .absent : .namespace(isConfirmed: false)
  }

  private func tagAnswer(
    _ name: String,
    in prefix: Prefix,
    mayBeTag: Bool,
    isKnown: Bool,
    _ found: LocalArtifact? = nil
  ) async -> Result<Class?, ContentError> {
    guard mayBeTag, let repository = prefix.repository else { return .success(nil) }
    let reference = Reference(repository: repository, target: .tag(name))
    do throws(ContentError) {
      return .success(.artifact(reference, try await resolver.resolve(reference, found: found)))
    } catch {
      switch error.code {
      // Registries answer 401 and 403 for names that do not exist. A manifest that exists and cannot be read
      // is an
      // error: ENOENT would hide it.
      case .notFound, .unauthorized, .offline: return .success(nil)
      case .invalid, .corrupt: return .failure(error)
      default: return isKnown ? .success(.artifact(reference, nil)) : .failure(error)
      }
    }
  }

  private func repositoryAnswer(
    _ name: String,
    in prefix: Prefix,
    mayBeComponent: Bool,
    _ known: LocalChild
  ) async -> Result<Class?, ContentError> {
    guard mayBeComponent else { return .success(nil) }
    let isKnown = known.isComponent
    let path = (prefix.components + [name]).joined(separator: "/")
    if isKnown {
      if known.isRepository { return .success(.repository) }
      if options.resolution.isOffline { return .success(.namespace(isConfirmed: true)) }
    }
    guard !options.resolution.isOffline,
      let repository = RepositoryName(registry: prefix.registry, path: path)
    else {
      return .success(nil)
    }
    do throws(ContentError) {
      _ = try await remote.repository(repository).tags(limit: 1)
      return .success(.repository)
    } catch {
      switch error.code {
      case .notFound, .unauthorized: return .success(isKnown ? .namespace(isConfirmed: true) : nil)
      default: return isKnown ? .success(.namespace(isConfirmed: true)) : .failure(error)
      }
    }
  }
}

/// A path between a registry and its artifacts.
struct Prefix: Sendable, Hashable {
  let registry: String
  let components: [String]
  /// Whether a registry or the local registry confirmed a repository of this name.
  let isKnownRepository: Bool

  /// The repository of this name, or nil directly below a registry.
  var repository: RepositoryName? {
    components.isEmpty ? nil : RepositoryName(registry: registry, path: components.joined(separator: "/"))
  }

  func appending(_ component: String, isKnownRepository: Bool) -> Prefix {
    Prefix(registry: registry, components: components + [component], isKnownRepository: isKnownRepository)
  }
}
