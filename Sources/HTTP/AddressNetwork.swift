import Glibc

/// An address, or a network in the notation of RFC 4632 such as `10.0.0.0/8`.
struct AddressNetwork: Sendable, Equatable {
  private let prefix: [UInt8]
  private let bits: Int

  /// Parses an address with an optional prefix length, or returns nil.
  init?(_ text: some StringProtocol) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let address = parts.first, let bytes = Self.bytes(address) else { return nil }
    prefix = bytes
    guard parts.count == 2 else {
      bits = bytes.count * 8
      return
    }
    guard let length = Int(parts[1]), (0...bytes.count * 8).contains(length) else { return nil }
    bits = length
  }

  /// Returns the bytes of an IPv4 or IPv6 address, with or without brackets; nil for a name.
  static func bytes(_ text: some StringProtocol) -> [UInt8]? {
    let plain =
      text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : String(text)
    var four = in_addr()
    if inet_pton(AF_INET, plain, &four) == 1 { return withUnsafeBytes(of: four) { Array($0) } }
    var six = in6_addr()
    return inet_pton(AF_INET6, plain, &six) == 1 ? withUnsafeBytes(of: six) { Array($0) } : nil
  }

  /// Whether the network contains an address.
  func contains(_ address: [UInt8]) -> Bool {
    guard address.count == prefix.count else { return false }
    let whole = bits / 8
    guard address[..<whole] == prefix[..<whole] else { return false }
    let rest = bits % 8
    guard rest > 0 else { return true }
    return (address[whole] ^ prefix[whole]) >> (8 - UInt8(rest)) == 0
  }
}
