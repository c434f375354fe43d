/// The name of an artifact: a repository with a tag, a digest, or both.
package struct Reference: Sendable, Hashable {
  /// The tag or digest to look up in a repository; if a reference has both, the digest is used.
  package enum Target: Sendable, Hashable, CustomStringConvertible {
    case tag(String)
    case digest(Digest)

    package var description: String {
      switch self {
      case .tag(let tag): tag
      case .digest(let digest): digest.description
      }
    }
  }

  package let repository: RepositoryName
  package let tag: String?
  package let digest: Digest?

  /// Creates a reference with one target.
  ///
  /// - Parameters:
  ///   - repository: The repository.
  ///   - target: The tag or digest.
  package init(repository: RepositoryName, target: Target) {
    self.repository = repository
    switch target {
    case .tag(let tag): (self.tag, digest) = (tag, nil)
    case .digest(let digest): (tag, self.digest) = (nil, digest)
    }
  }

  /// The reference under which the artifact is stored: without the tag if it has a digest.
  package var stored: Reference { Reference(repository: repository, target: target) }

  /// The tag or digest to look up.
  package var target: Target {
    if let digest { return .digest(digest) }
    return .tag(tag ?? "latest")
  }

  /// Parses `[registry/]repository[:tag][@digest]`, optionally prefixed with `docker://`, `oci://` or
  /// `rlcr://`.
  ///
  /// The default registry is Docker Hub, the default tag is `latest`.
  ///
  /// - Parameter text: The reference.
  /// - Throws: `DocumentError` that names the problem.
  package init(parsing text: String) throws(DocumentError) {
    var rest = try Self.unprefixed(text)
    let shown = "'\(text.prefix(200))'"
    let digest = try Self.takeDigest(from: &rest, shown)
    let tag = try Self.takeTag(from: &rest, shown)
    var registry = "docker.io"
    if let slash = rest.firstIndex(of: "/"), Grammar.looksLikeRegistry(rest[..<slash]) {
      registry = String(rest[..<slash])
      rest = rest[rest.index(after: slash)...]
    }
    guard let repository = RepositoryName(registry: registry, path: String(rest)) else {
      throw DocumentError(
        reason:
          "\(shown) is not a reference: expected registry/repository:tag or registry/repository@sha256:…, "
          + "the repository in lower case"
      )
    }
    self.repository = repository
    self.tag = tag ?? (digest == nil ? "latest" : nil)
    self.digest = digest
  }

  /// Removes the prefix of a scheme, and refuses texts that are no references.
  private static func unprefixed(_ text: String) throws(DocumentError) -> Substring {
    var rest = text[...]
    for prefix in ["docker://", "oci://", "rlcr://"] where rest.hasPrefix(prefix) {
      rest = rest.dropFirst(prefix.count)
      break
    }
    guard rest.utf8.count <= 600 else {
      throw DocumentError(reason: "a reference of \(rest.utf8.count) bytes is too long")
    }
    // Docker's grammar refuses 64 hexadecimal digits for the same reason.
    let isDigestAlone =
      Digest(rest) != nil || rest.utf8.count == 64 && rest.allSatisfy { $0.isASCII && $0.isHexDigit }
    guard !isDigestAlone else {
      throw DocumentError(
        reason: "'\(text.prefix(200))' is a digest without a repository: use registry/repository@sha256:…"
      )
    }
    return rest
  }

  private static func takeDigest(
    from rest: inout Substring,
    _ shown: String
  ) throws(DocumentError) -> Digest? {
    guard let at = rest.firstIndex(of: "@") else { return nil }
    guard let digest = Digest(rest[rest.index(after: at)...]) else {
      throw DocumentError(reason: "\(shown) has no valid digest after '@' (sha256:<64 hexadecimal digits>)")
    }
    rest = rest[..<at]
    return digest
  }

  private static func takeTag(
    from rest: inout Substring,
    _ shown: String
  ) throws(DocumentError) -> String? {
    guard let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("/") else { return nil }
    let tag = rest[rest.index(after: colon)...]
    guard Grammar.isTag(tag) else {
      throw DocumentError(reason: "\(shown): '\(tag.prefix(130))' is not a valid tag")
    }
    rest = rest[..<colon]
    return String(tag)
  }
}

extension Reference: CustomStringConvertible {
  package var description: String {
    "\(repository)" + (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "")
  }
}
