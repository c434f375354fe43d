/// Maps references to paths below the root, in the layout of OMMX's local registry:
/// `<host>[__<port>]/<name>/__<reference>`, with every colon written as `__`.
package enum ReferencePath {
  /// The suffixes of archives in OMMX.
  package static let archiveSuffixes = [".ommx", ".tar"]

  /// Returns the path of a reference, relative to the root.
  package static func path(of reference: Reference) -> String {
    "\(path(of: reference.repository))/\(leaf(of: reference.target))"
  }

  /// Returns the paths that a reference may have, the one that weightfs writes first: ommx uses another host
  /// name for Docker Hub.
  package static func spellings(of reference: Reference) -> [String] {
    let path = path(of: reference)
    guard reference.repository.registry == "docker.io" else { return [path] }
    return [path, "registry-1.docker.io" + path.dropFirst("docker.io".count)]
  }

  /// Whether a reference is always stored as an archive: the directory of tag `x.ommx` would have the name of
  /// the archive of tag `x`.
  package static func isArchiveOnly(_ reference: Reference) -> Bool {
    guard case .tag(let tag) = reference.target else { return false }
    return archiveSuffixes.contains { tag.hasSuffix($0) }
  }

  /// Returns the path of a repository, relative to the root.
  package static func path(of repository: RepositoryName) -> String {
    "\(escape(repository.registry))/\(repository.path)"
  }

  /// Returns the last path component of a target: `__<tag>` or `__sha256__<hex>`.
  package static func leaf(of target: Reference.Target) -> String { "__" + escape("\(target)") }

  /// Returns the target of a last path component, or nil.
  ///
  /// A tag that contains `__` is kept unchanged, as no tag contains a colon.
  ///
  /// - Parameter leaf: The component, with or without the suffix of an archive.
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

  /// Replaces every colon with `__`.
  package static func escape(_ text: String) -> String {
    text.split(separator: ":", omittingEmptySubsequences: false).joined(separator: "__")
  }

  /// Returns the registry of a first path component: `host__port` becomes `host:port`.
  package static func registry(of component: String) -> String {
    guard let mark = component.ranges(of: "__").last else { return component }
    let port = component[mark.upperBound...]
    guard !port.isEmpty, port.allSatisfy({ $0.isASCII && $0.isNumber }) else { return component }
    return "\(component[..<mark.lowerBound]):\(port)"
  }
}
