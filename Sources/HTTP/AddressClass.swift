/// The kind of network that an IP address belongs to.
package enum AddressClass: String, Sendable, CaseIterable {
  case global
  /// RFC 1918, fc00::/7.
  case privateNetwork
  case loopback
  /// RFC 3927, fe80::/10; clouds serve the credentials of a machine at such an address (169.254.169.254).
  case linkLocal
  /// `0.0.0.0` and `::`, with which connect(2) connects to this machine.
  case unspecified

  /// Returns the class of an address in text form, or nil for a name.
  ///
  /// - Parameter host: Without port and brackets; a zone after `%` is ignored.
  package init?(_ host: String) {
    if host.lowercased() == "localhost" {
      self = .loopback
      return
    }
    let text = host.prefix { $0 != "%" }
    if let bytes = Self.version4(text) {
      self = Self.classify(bytes)
    } else if let bytes = Self.version6(text) {
      // ::ffff:0:0/96 and the older ::/96 represent IPv4 addresses.
      let isMapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xff && bytes[11] == 0xff
      let isCompatible = bytes[..<12].allSatisfy { $0 == 0 } && bytes[12...].contains { $0 > 1 }
      if isMapped || isCompatible {
        self = Self.classify(Array(bytes[12...]))
      } else if bytes.allSatisfy({ $0 == 0 }) {
        self = .unspecified
      } else if bytes[..<15].allSatisfy({ $0 == 0 }), bytes[15] == 1 {
        self = .loopback
      } else if bytes[0] == 0xfe, bytes[1] & 0xc0 == 0x80 {
        self = .linkLocal
      } else {
        self = bytes[0] & 0xfe == 0xfc ? .privateNetwork : .global
      }
    } else {
      return nil
    }
  }

  private static func classify(_ bytes: [UInt8]) -> AddressClass {
    switch (bytes[0], bytes[1]) {
    case (0, _): .unspecified
    case (127, _): .loopback
    case (169, 254): .linkLocal
    case (10, _), (192, 168), (172, 16...31): .privateNetwork
    default: .global
    }
  }

  /// Parses four decimal numbers separated by dots, as libcurl prints an address; other forms that resolvers
  /// accept (`127.1`, `0x7f000001`) are checked by the address of the connection.
  private static func version4(_ text: some StringProtocol) -> [UInt8]? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    let bytes = parts.compactMap { UInt8($0) }
    return parts.count == 4 && bytes.count == 4 ? bytes : nil
  }

  private static func version6(_ text: some StringProtocol) -> [UInt8]? {
    guard text.contains(":") else { return nil }
    var halves: [[UInt8]] = []
    for half in text.split(separator: "::", maxSplits: 1, omittingEmptySubsequences: false) {
      guard let bytes = groups(half) else { return nil }
      halves.append(bytes)
    }
    let count = halves.reduce(0) { $0 + $1.count }
    guard halves.count == 2 ? count <= 14 : count == 16 else { return nil }
    return halves[0] + [UInt8](repeating: 0, count: 16 - count) + (halves.count == 2 ? halves[1] : [])
  }

  private static func groups(_ text: some StringProtocol) -> [UInt8]? {
    guard !text.isEmpty else { return [] }
    var bytes: [UInt8] = []
    for part in text.split(separator: ":", omittingEmptySubsequences: false) {
      if part.contains(".") {
        guard let last = version4(part) else { return nil }
        bytes += last
      } else {
        guard (1...4).contains(part.count), let number = UInt16(part, radix: 16) else { return nil }
        bytes += [UInt8(number >> 8), UInt8(number & 0xff)]
      }
    }
    return bytes
  }
}

/// The rule for the connection of a request whose URL came from another host.
///
/// A registry on the internet must not direct its clients, or their passwords, to a service of this machine
/// or of the cloud that it runs in.
package struct AddressRule: Sendable, Hashable {
  /// Address classes that are refused.
  package let refused: Set<AddressClass>

  /// Creates a rule that refuses some classes.
  package init(refused: Set<AddressClass>) { self.refused = refused }

  /// Creates the rule for a URL that a registry names.
  ///
  /// - Parameters:
  ///   - registry: The address class of the registry's own connection; nil if unknown, as through a proxy.
  ///   - isForCredentials: Whether credentials would be sent to the URL.
  package init(registry: AddressClass?, isForCredentials: Bool) {
    var refused: Set<AddressClass> = [.loopback, .linkLocal, .unspecified]
    if isForCredentials { refused.insert(.privateNetwork) }
    if let registry { refused.remove(registry) }
    self.refused = refused
  }
}
