import LocalRegistry
package import OCI

/// Determines what a name in the tree may stand for, by its spelling alone.
///
/// A pure function.
package enum NameRules {
  /// A name below a registry or a prefix.
  package enum Name: Sendable, Hashable {
    /// `x:tag`, `x@sha256:…`: an artifact of the repository `x` below the prefix.
    case reference(component: String, target: Reference.Target)
    /// `sha256:…`: an artifact of the prefix itself.
    case digest(Digest)
    /// A tag of the prefix, a repository, or a namespace.
    case plain(String, mayBeComponent: Bool, mayBeTag: Bool)
    /// None of these.
    case impossible
  }

  // Programs look for these files beside a model; no repository or namespace has such a name.
  private static let fileSuffixes = [
    ".gguf", ".safetensors", ".json", ".bin", ".onnx", ".pt", ".pth", ".pkl", ".npy", ".npz", ".h5", ".ckpt",
    ".task",
    ".tflite", ".engine", ".plan", ".txt", ".yaml", ".yml", ".toml", ".model", ".tiktoken", ".jinja", ".html",
    ".htm",
    ".ini", ".inf", ".pbtxt", ".tar", ".gz", ".zip", ".zst", ".exe", ".dll", ".lock", ".tmp", ".swp", ".bak",
  ]

  /// Whether a name ends like a file name, and therefore is neither a namespace nor a host.
  package static func looksLikeFile(_ name: String) -> Bool {
    let lower = name.lowercased()
    return fileSuffixes.contains { lower.hasSuffix($0) }
  }

  /// Returns the registry that a name below the root stands for: a host with a dot or a port, or `localhost`;
  /// `__` may replace the colon before the port.
  ///
  /// - Parameter name: The first path component.
  /// - Returns: nil if the name is not a registry.
  package static func registry(_ name: String) -> String? {
    for spelling in [name, ReferencePath.registry(of: name)] where isRegistry(spelling) { return spelling }
    return nil
  }

  private static func isRegistry(_ name: String) -> Bool {
    guard Grammar.isRegistry(name), !looksLikeFile(name) else { return false }
    return name == "localhost" || name.contains(".") || name.contains(":")
  }

  /// Parses a name below a registry or a prefix.
  ///
  /// - Parameters:
  ///   - name: The name.
  ///   - isBelowRegistry: Whether the parent is a registry, which has no tags.
  package static func parse(_ name: String, isBelowRegistry: Bool) -> Name {
    guard name.contains(":") || name.contains("@") else {
      let mayBeComponent = Grammar.isRepositoryComponent(name)
      let mayBeTag = !isBelowRegistry && Grammar.isTag(name)
      guard mayBeComponent || mayBeTag else { return .impossible }
      return .plain(name, mayBeComponent: mayBeComponent, mayBeTag: mayBeTag)
    }
    if let at = name.firstIndex(of: "@") {
      let component = name[..<at]
      guard Grammar.isRepositoryComponent(component), let digest = Digest(name[name.index(after: at)...])
      else {
        return .impossible
      }
      return .reference(component: String(component), target: .digest(digest))
    }
    if let digest = Digest(name) { return isBelowRegistry ? .impossible : .digest(digest) }
    guard let colon = name.firstIndex(of: ":") else { return .impossible }
    let component = name[..<colon]
    let tag = name[name.index(after: colon)...]
    guard Grammar.isRepositoryComponent(component), Grammar.isTag(tag) else { return .impossible }
    return .reference(component: String(component), target: .tag(String(tag)))
  }

  /// Returns what the on-disk spelling of a name with colons may stand for, in the order to try:
  /// `gemma3__q4`, `__sha256__<hex>`, `gemma3__sha256__<hex>`, `gemma3@sha256__<hex>`.
  ///
  /// A name that exists in this spelling takes precedence.
  ///
  /// - Parameters:
  ///   - name: The name.
  ///   - isBelowRegistry: Whether the parent is a registry.
  package static func decodings(_ name: String, isBelowRegistry: Bool) -> [Name] {
    guard name.contains("__") else { return [] }
    var found: [Name] = []
    func add(_ spelling: String) {
      let parsed = parse(spelling, isBelowRegistry: isBelowRegistry)
      if case .plain = parsed { return }
      if parsed != .impossible, !found.contains(parsed) { found.append(parsed) }
    }
    for algorithm in Digest.Algorithm.allCases {
      let mark = "\(algorithm.rawValue)__"
      guard let range = name.ranges(of: mark).last else { continue }
      let digest = "\(algorithm.rawValue):\(name[range.upperBound...])"
      let before = name[..<range.lowerBound]
      if before.isEmpty || before == "__" {
        add(digest)
      } else if before.hasSuffix("@") {
        add("\(before)\(digest)")
      } else if before.hasSuffix("__") {
        add("\(before.dropLast(2))@\(digest)")
      }
    }
    for mark in name.ranges(of: "__").prefix(4) {
      add("\(name[..<mark.lowerBound]):\(name[mark.upperBound...])")
    }
    return found
  }

  /// Whether a tag is one that tools create beside the tags of artifacts: the fallback of the referrers API,
  /// and signatures.
  package static func isReferrersTag(_ tag: String) -> Bool {
    let prefix = "sha256-"
    guard tag.hasPrefix(prefix), tag.utf8.count >= prefix.utf8.count + 64 else { return false }
    let hex = tag.dropFirst(prefix.count).prefix(64)
    return Digest(algorithm: .sha256, hex: hex) != nil
  }
}
