package import Content
import HTTP
package import OCI

/// A repository of a registry that follows the distribution specification.
package struct RegistryRepository: Repository {
  let client: RegistryClient
  package let name: RepositoryName

  package var origin: String { "\(name)" }
  package var link: String { name.registry }
  package var servesRanges: Bool { !client.hosts.lacksRanges(name) }
  package var hasProvenRanges: Bool { client.hosts.hasRanges(name) }

  // The maximum size of a page of tags in bytes.
  static let pageLimit = 16 << 20
  private static let pageCount = 1000

  /// Requests a manifest's type, digest and size: by HEAD, then by GET if the response to HEAD lacks one of
  /// them.
  package func resolve(_ target: Reference.Target) async throws(ContentError) -> Descriptor {
    let descriptor = try await ask(target)
    if case .tag(let tag) = target { client.hosts.note(tag: tag, of: descriptor.digest, in: name) }
    return descriptor
  }

  private func ask(_ target: Reference.Target) async throws(ContentError) -> Descriptor {
    let answer = try await send(manifest(target, .head, limit: 0))
    switch answer.response.status {
    case 200: break
    // Some registries do not support HEAD.
    case 405, 501: return try await resolveByGet(target)
    // An address signed for GET refuses HEAD.
    case 400..<500 where isElsewhere(answer.response.url): return try await resolveByGet(target)
    default: throw answer.refusal
    }
    let response = answer.response
    guard let text = response.header("docker-content-digest"), let digest = Digest(text),
      let size = response.contentLength, size >= 0, let text = response.header("content-type"),
      case let type = MediaType(rawValue: text).withoutParameters, type.isManifest || type.isIndex
    else { return try await resolveByGet(target) }
    guard size <= ManifestDocument.maximumSize else {
      throw ContentError(
        .invalid,
        describe(target),
        host: name.registry,
        "manifest size \(size) exceeds the limit of 4 MiB"
      )
    }
    if case .digest(let expected) = target, expected != digest {
      guard expected.algorithm != digest.algorithm else {
        throw ContentError(
          .corrupt,
          describe(target),
          host: name.registry,
          "the registry answered with the manifest \(digest)"
        )
      }
      return try await resolveByGet(target)
    }
    return Descriptor(mediaType: type, digest: digest, size: size)
  }

  package func fetch(
    _ descriptor: Descriptor,
    range: Range<Int64>,
    into sink: any BlobSink
  ) async throws(ContentError) {
    var exchange = BlobExchange(repository: self, descriptor: descriptor, range: range, sink: sink)
    var engine = RequestEngine(self, patience: exchange.patience)
    try await engine.run(&exchange)
    if descriptor.mediaType.isManifest || descriptor.mediaType.isIndex {
      client.hosts.note(manifest: descriptor.digest, in: name)
    }
  }

  package func tags(limit: Int) async throws(ContentError) -> [String] {
    var found: [String] = []
    var path: String? = "tags/list?n=\(min(limit, 1000))"
    var seen: Set<String> = []
    while let current = path, found.count < limit {
      // A registry whose pages form a cycle is left at the first repeated page.
      guard seen.insert(current).inserted else { break }
      let page = DocumentExchange(
        repository: self,
        subject: "the tags of \(name)",
        method: .get,
        path: current,
        limit: Self.pageLimit
      )
      let answer = try await send(page)
      guard answer.response.status == 200 else { throw answer.refusal }
      let tags: [String]
      do throws(DocumentError) {
        tags = try NamePage.names("tags", in: answer.body, limit: limit - found.count) { Grammar.isTag($0) }
      } catch {
        throw client.unreadable(answer.response, answer.body, "the tags of \(name)", of: name.registry, error)
      }
      found += tags
      // A page that adds no tags is the last one, even if it has a link; so is the thousandth page.
      guard !tags.isEmpty, seen.count < Self.pageCount else { break }
      path = LinkHeader.next(answer.response.allHeaders("link")).flatMap { relative($0) }
    }
    return Array(found.prefix(limit))
  }

  /// Returns the part of a page's address below this repository's address, or nil if it leads to another
  /// origin.
  private func relative(_ link: String) -> String? {
    let base = "\(client.base(of: name.registry))\(name.path)/"
    guard let root = RequestURL(base) else { return nil }
    var text = link
    if link.hasPrefix("/") {
      guard let pathStart = base.firstRange(of: "/v2/") else { return nil }
      text = base[..<pathStart.lowerBound] + link
    } else if link.hasPrefix("?") {
      text = base + "tags/list" + link
    }
    guard let url = RequestURL(text), url.hasSameOrigin(as: root), text.hasPrefix(base) else { return nil }
    return String(text.dropFirst(base.count))
  }

  private func resolveByGet(_ target: Reference.Target) async throws(ContentError) -> Descriptor {
    let answer = try await send(manifest(target, .get, limit: Int(ManifestDocument.maximumSize)))
    guard answer.response.status == 200 else { throw answer.refusal }
    let (response, body) = (answer.response, answer.body)
    let named = response.header("docker-content-digest").flatMap { Digest($0) }
    let algorithm: Digest.Algorithm =
      if case .digest(let digest) = target { digest.algorithm } else { named?.algorithm ?? .sha256 }
    let digest = body.digest(algorithm)
    if case .digest(let expected) = target, digest != expected {
      throw ContentError(
        .corrupt,
        describe(target),
        host: name.registry,
        "the registry answered with a manifest whose digest is \(digest)"
      )
    }
    if let named, named.algorithm == algorithm, named != digest {
      throw ContentError(
        .corrupt,
        describe(target),
        host: name.registry,
        "the registry declares the manifest digest \(named), but it is \(digest)"
      )
    }
    let type = response.header("content-type").map { MediaType(rawValue: $0).withoutParameters }
    do {
      return try ManifestDocument(bytes: body, digest: digest, declared: type).descriptor
    } catch {
      throw client.unreadable(answer.response, answer.body, describe(target), of: name.registry, error)
    }
  }

  func describe(_ target: Reference.Target) -> String {
    switch target {
    case .tag(let tag): "\(name):\(tag)"
    case .digest(let digest): "\(name)@\(digest)"
    }
  }
}
