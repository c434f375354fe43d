/// The grammar of references (distribution-spec "Pulling manifests", distribution/reference regexp.go).
///
/// Implemented as plain loops over bytes, as it is applied to every look-up of every program that accesses
/// the mount.
package enum Grammar {
  /// Maximum combined length of registry and repository name that registries accept.
  package static let maximumNameLength = 255

  /// Whether a text is a registry: `host` or `host:port`, with labels of letters, digits and inner dashes, or
  /// an IPv6 address in brackets.
  package static func isRegistry(_ text: some StringProtocol) -> Bool {
    let bytes = Array(text.utf8)
    guard !bytes.isEmpty, bytes.count <= maximumNameLength else { return false }
    var host = bytes[...]
    if bytes[0] == UInt8(ascii: "[") {
      guard let end = bytes.firstIndex(of: UInt8(ascii: "]")), end > 2 else { return false }
      let inner = bytes[1..<end]
      guard inner.allSatisfy({ isHexadecimal($0) || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") }),
        inner.contains(UInt8(ascii: ":"))
      else { return false }
      let rest = bytes[(end + 1)...]
      return rest.isEmpty || rest.first == UInt8(ascii: ":") && isPort(rest.dropFirst())
    }
    if let colon = bytes.firstIndex(of: UInt8(ascii: ":")) {
      guard isPort(bytes[(colon + 1)...]) else { return false }
      host = bytes[..<colon]
    }
    return host.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { label in
      guard let first = label.first, let last = label.last, isAlphanumeric(first), isAlphanumeric(last) else {
        return false
      }
      return label.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
    }
  }

  /// Whether the first part of a reference such as `a/b` is a registry rather than a namespace of Docker Hub.
  ///
  /// - Parameter text: The part before the first slash.
  package static func looksLikeRegistry(_ text: some StringProtocol) -> Bool {
    text == "localhost" || text.utf8.contains(UInt8(ascii: ".")) || text.utf8.contains(UInt8(ascii: ":"))
      || text.utf8.contains { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
  }

  /// Whether a text is a component of a repository name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
  package static func isRepositoryComponent(_ text: some StringProtocol) -> Bool {
    let bytes = Array(text.utf8)
    guard let first = bytes.first, let last = bytes.last, bytes.count <= maximumNameLength else {
      return false
    }
    guard isLowerAlphanumeric(first), isLowerAlphanumeric(last) else { return false }
    var index = 0
    while index < bytes.count {
      if isLowerAlphanumeric(bytes[index]) {
        index += 1
        continue
      }
      var end = index
      while end < bytes.count, !isLowerAlphanumeric(bytes[end]) { end += 1 }
      let separator = bytes[index..<end]
      let isLegal =
        separator.elementsEqual([UInt8(ascii: ".")]) || separator.elementsEqual([UInt8(ascii: "_")])
        || separator.elementsEqual([UInt8(ascii: "_"), UInt8(ascii: "_")])
        || separator.allSatisfy { $0 == UInt8(ascii: "-") }
      guard isLegal else { return false }
      index = end
    }
    return true
  }

  /// Whether a text is a repository name: components separated by slashes.
  package static func isRepository(_ text: some StringProtocol) -> Bool {
    guard text.utf8.count <= maximumNameLength else { return false }
    return text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
      isRepositoryComponent($0)
    }
  }

  /// Whether a text is a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
  package static func isTag(_ text: some StringProtocol) -> Bool {
    let bytes = text.utf8
    guard let first = bytes.first, bytes.count <= 128, isAlphanumeric(first) || first == UInt8(ascii: "_")
    else {
      return false
    }
    return bytes.allSatisfy {
      isAlphanumeric($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-")
    }
  }

  private static func isPort(_ bytes: ArraySlice<UInt8>) -> Bool {
    guard !bytes.isEmpty, bytes.count <= 5, bytes.allSatisfy({ isDigit($0) }) else { return false }
    let value = bytes.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    return (1...65535).contains(value)
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  private static func isHexadecimal(_ byte: UInt8) -> Bool {
    isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte | 0x20)
  }

  private static func isLowerAlphanumeric(_ byte: UInt8) -> Bool {
    isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
  }
}
