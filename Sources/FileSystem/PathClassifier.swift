package import Artifacts
import Stores
import Content
package import LocalRegistry
package import OCI

/// What a name below a registry stands for: an artifact, a repository, a namespace, or nothing (design 1).
package actor PathClassifier {
  /// The answer.
  package enum Class: Sendable {
    /// With what it stands for, where it was resolved and not only listed.
    case artifact(Reference, ReferenceResolver.Resolution?)
    /// A repository; below it, names that nobody confirms are nothing.
    case repository
    /// Something above repositories, which nobody need confirm.
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
  private var pending: [Key: Task<Result<Class, ContentError>, Never>] = [:]
  /// Tags that a list told of, by repository.
  private var listed: [RepositoryName: (tags: Set<String>, expires: ContinuousClock.Instant)] = [:]

  private static let limit = 50_000

  /// Makes a classifier.
  ///
  /// - Parameters:
  ///   - local: asked first.
  ///   - remote: asked whether repositories exist.
  ///   - resolver: asked whether tags exist.
  ///   - options: times to live and the depth of namespaces.
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
  ///   - name: in its spelling.
  ///   - prefix: of the folder it is looked up in.
  ///   - mayBeComponent: by the grammar.
  ///   - mayBeTag: by the grammar.
  /// - Throws: `ContentError` where a registry that must be asked does not answer.
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
    let task: Task<Result<Class, ContentError>, Never>
    if let running = pending[key] {
      task = running
    } else {
      task = Task {
        do throws(ContentError) {
          return .success(
            try await self.ask(name, in: prefix, mayBeComponent: mayBeComponent, mayBeTag: mayBeTag)
          )
        } catch {
          return .failure(error)
        }
      }
      pending[key] = task
    }
    let result = await task.value
    if pending[key] == task { pending[key] = nil }
    let answer = try result.get()
    if memory.count >= Self.limit { memory = [:] }
    switch answer {
    // A tag's own answer is remembered by the resolver, by its time to live.
    case .artifact: break
    case .repository: memory[key] = Memory(answer: answer, expires: .now + options.resolution.timeToLive)
    // The local registry costs nothing to ask again.
    case .namespace, .absent:
      if options.resolution.isOffline { break }
      memory[key] = Memory(answer: answer, expires: .now + options.resolution.negativeTimeToLive)
    }
    return answer
  }

  /// Remembers what a tag list told.
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
    // What is known needs no question, and no network to know what it is.
    if options.resolution.isOffline, !known.isTag, known.isComponent {
      return known.isRepository ? .repository : .namespace(isConfirmed: true)
    }
    if known.isTag {
      let answer = await tagAnswer(name, in: prefix, mayBeTag: mayBeTag, isKnown: true, artifact)
      if case .success(let answer?) = answer { return answer }
    }
    // Side by side: a tag wins, but the list need not wait for it.
    async let tag = tagAnswer(name, in: prefix, mayBeTag: mayBeTag, isKnown: known.isTag)
    async let repository = repositoryAnswer(name, in: prefix, mayBeComponent: mayBeComponent, known)
    let tagResult = await tag
    if case .success(let answer?) = tagResult { return answer }
    // A tag wins, so whether there is one must be known: no answer is no proof of absence.
    if case .failure(let error) = tagResult {
      // A registry that does not answer leaves in force what is known here.
      guard known.isComponent else { throw error }
      return known.isRepository ? .repository : .namespace(isConfirmed: true)
    }
    let repositoryResult = await repository
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
      // Registries answer 401 and 403 for what does not exist. A manifest that is there and cannot be read is another
      // matter: saying that there is no such name would hide it.
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

/// A place between a registry and its artifacts.
struct Prefix: Sendable, Hashable {
  let registry: String
  let components: [String]
  /// Somebody confirmed a repository of this name.
  let isKnownRepository: Bool

  /// The repository of this name, where it can be one.
  var repository: RepositoryName? {
    components.isEmpty ? nil : RepositoryName(registry: registry, path: components.joined(separator: "/"))
  }

  func appending(_ component: String, isKnownRepository: Bool) -> Prefix {
    Prefix(registry: registry, components: components + [component], isKnownRepository: isKnownRepository)
  }
}
