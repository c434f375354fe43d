import Glibc

/// A port of the loopback address that no server uses.
package enum FreePort {
  /// The reason why there is none.
  package struct Unavailable: Error {}

  /// Returns a port that the kernel has just chosen; it does not choose it again soon.
  package static func next() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutableBytes(of: &address) { bytes in
      guard let base = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return false }
      return bind(descriptor, base, length) == 0 && getsockname(descriptor, base, &length) == 0
    }
    guard isBound else { throw Unavailable() }
    return UInt16(bigEndian: address.sin_port)
  }
}
