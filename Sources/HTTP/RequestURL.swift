/// The URL of a request.
///
/// Its query may contain a signature, so logs show the URL without the query.
package struct RequestURL: Sendable, Hashable {
  /// The complete URL, only for sending the request.
  package let text: String
  /// `http` or `https`.
  package let scheme: String
  /// The host in lower case, without brackets.
  package let host: String
  package let port: Int

  /// Parses a URL, or returns nil.
  ///
  /// - Parameter text: `http://` or `https://`, without user information, in visible ASCII characters.
  package init?(_ text: String) {
    guard text.utf8.count <= 16_384,
      text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\\") })
    else {
      return nil
    }
    guard let separator = text.firstRange(of: "://") else { return nil }
    let scheme = text[..<separator.lowerBound].lowercased()
    guard scheme == "http" || scheme == "https" else { return nil }
    let rest = text[separator.upperBound...]
    let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
    let authority = rest[..<end]
    guard !authority.isEmpty, !authority.contains("@") else { return nil }
    var host = authority
    var port = scheme == "https" ? 443 : 80
    if let colon = authority.lastIndex(of: ":"), !authority[colon...].contains("]") {
      guard let number = Int(authority[authority.index(after: colon)...]), (1...65535).contains(number) else {
        return nil
      }
      port = number
      host = authority[..<colon]
    }
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    guard !host.isEmpty else { return nil }
    self.text = text
    self.scheme = scheme
    self.host = host.lowercased()
    self.port = port
  }

  /// `host` if the port is the default of the scheme, else `host:port`; an IPv6 address is in brackets.
  package var endpoint: String {
    let name = host.contains(":") ? "[\(host)]" : host
    return port == (scheme == "https" ? 443 : 80) ? name : "\(name):\(port)"
  }

  /// The URL without its query, suitable for a `Referer` header.
  package var withoutQuery: String {
    text.firstIndex { $0 == "?" || $0 == "#" }.map { String(text[..<$0]) } ?? text
  }

  /// The path without the query.
  package var path: Substring {
    guard let separator = text.firstRange(of: "://") else { return "" }
    let rest = text[separator.upperBound...]
    guard let start = rest.firstIndex(of: "/") else { return "/" }
    return rest[start...].prefix { $0 != "?" && $0 != "#" }
  }

  /// Returns whether a set of hosts, as `host` or `host:port`, has the host of this address.
  ///
  /// - Parameter hosts: The hosts.
  package func isNamed(in hosts: Set<String>) -> Bool { hosts.contains(host) || hosts.contains(endpoint) }

  /// Whether both URLs have the same scheme, host and port.
  package func hasSameOrigin(as other: RequestURL) -> Bool {
    scheme == other.scheme && host == other.host && port == other.port
  }

  /// Whether the host is this machine by name or address.
  package var isLoopback: Bool { Self.isLoopback(host: host) }

  /// Whether a host is this machine by name or address (RFC 6761 6.3, RFC 1122 3.2.1.3).
  ///
  /// - Parameter host: Without port and brackets.
  package static func isLoopback(host: String) -> Bool {
    if host == "localhost" || host == "::1" { return true }
    let parts = host.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }
}

extension RequestURL: CustomStringConvertible {
  package var description: String {
    guard let end = text.firstIndex(where: { $0 == "?" || $0 == "#" }) else { return text }
    return text[..<end] + "?…"
  }
}
