/// How a reference is spelled as a path below the root: OMMX's local registry, `<host>[__<port>]/<name>/__<reference>`
/// with every colon written `__`.
package enum ReferencePath {
  /// What OMMX calls its archives.
  package static let archiveSuffixes = [".ommx", ".tar"]

  /// The path of a reference, relative to the root.
  ///
  /// - Parameter reference: with a tag, or a digest alone.
  package static func path(of reference: Reference) -> String {
    "\(path(of: reference.repository))/\(leaf(of: reference.target))"
  }

  /// The paths that a reference may have: Docker Hub's host has two names on disk, as ommx writes the other.
  ///
  /// - Parameter reference: with a tag, or a digest alone.
  /// - Returns: the one that weightfs writes first.
  package static func spellings(of reference: Reference) -> [String] {
    let path = path(of: reference)
    guard reference.repository.registry == "docker.io" else { return [path] }
    return [path, "registry-1.docker.io" + path.dropFirst("docker.io".count)]
  }

  /// Whether a reference is kept as an archive alone: the folder of tag `x.ommx` would have the name of the archive of
  /// tag `x`.
  ///
  /// - Parameter reference: with a tag or a digest.
  package static func isArchiveOnly(_ reference: Reference) -> Bool {
    guard case .tag(let tag) = reference.target else { return false }
    return archiveSuffixes.contains { tag.hasSuffix($0) }
  }

  /// The path of a repository, relative to the root.
  ///
  /// - Parameter repository: its name.
  package static func path(of repository: RepositoryName) -> String {
    "\(escape(repository.registry))/\(repository.path)"
  }

  /// The last component: `__<tag>` or `__sha256__<hex>`.
  ///
  /// - Parameter target: a tag or a digest.
  package static func leaf(of target: Reference.Target) -> String { "__" + escape("\(target)") }

  /// The target a last component stands for.
  ///
  /// A tag that has `__` in it reads back as it is, as no tag has a colon.
  ///
  /// - Parameter leaf: with or without the suffix of an archive.
  /// - Returns: nil where there is none.
  package static func target(ofLeaf leaf: String) -> Reference.Target? {
    guard leaf.hasPrefix("__") else { return nil }
    let text = leaf.dropFirst(2)
    for algorithm in Digest.Algorithm.allCases {
      let prefix = "\(algorithm.rawValue)__"
      if text.hasPrefix(prefix), let digest = Digest(algorithm: algorithm, hex: text.dropFirst(prefix.count))
      {
        return .digest(digest)
      }
    }
    return Grammar.isTag(text) ? .tag(String(text)) : nil
  }

  /// Writes every colon as `__`.
  ///
  /// - Parameter text: a name.
  package static func escape(_ text: String) -> String {
    text.split(separator: ":", omittingEmptySubsequences: false).joined(separator: "__")
  }

  /// The registry a first component stands for: `host__port` is `host:port`.
  ///
  /// - Parameter component: of a path.
  package static func registry(of component: String) -> String {
    guard let mark = component.ranges(of: "__").last else { return component }
    let port = component[mark.upperBound...]
    guard !port.isEmpty, port.allSatisfy({ $0.isASCII && $0.isNumber }) else { return component }
    return "\(component[..<mark.lowerBound]):\(port)"
  }
}
