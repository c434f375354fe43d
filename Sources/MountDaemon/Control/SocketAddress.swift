import Glibc

/// The addresses of sockets in the form that the C library takes.
enum SocketAddress {
  /// Binds a socket to a path; false with `errno` set if that fails.
  static func bind(_ descriptor: Int32, unix path: String) -> Bool {
    withUnix(path) { Glibc.bind(descriptor, $0, $1) == 0 } ?? false
  }

  /// Connects a socket to a path; false with `errno` set if that fails.
  ///
  /// - Parameter path: A path, or `@` and a name for an abstract socket (unix(7)).
  static func connect(_ descriptor: Int32, unix path: String) -> Bool {
    withUnix(path) { Glibc.connect(descriptor, $0, $1) == 0 } ?? false
  }

  /// Binds a socket to an IP address; false with `errno` set if that fails.
  static func bind(_ descriptor: Int32, host: String, port: UInt16) -> Bool {
    if host.contains(":") {
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      guard inet_pton(AF_INET6, host, &address.sin6_addr) == 1 else { return false }
      return bind(descriptor, &address)
    }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { return false }
    return bind(descriptor, &address)
  }

  /// Limits the time of each send and receive of a socket, in seconds.
  static func setTimeLimit(_ descriptor: Int32, _ seconds: Int) {
    var limit = timeval(tv_sec: seconds, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
  }

  /// Whether a text is an IP address.
  static func isAddress(_ host: String) -> Bool {
    var bytes = in6_addr()
    return inet_pton(AF_INET6, host, &bytes) == 1 || inet_pton(AF_INET, host, &bytes) == 1
  }

  private static func bind<Address>(_ descriptor: Int32, _ address: inout Address) -> Bool {
    withUnsafeMutableBytes(of: &address) { bytes in
      guard let base = bytes.baseAddress else { return false }
      let length = socklen_t(bytes.count)
      return Glibc.bind(descriptor, base.assumingMemoryBound(to: sockaddr.self), length) == 0
    }
  }

  private static func withUnix<Value>(
    _ path: String,
    _ body: (UnsafePointer<sockaddr>, socklen_t) -> Value
  ) -> Value? {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var bytes = Array(path.utf8)
    if bytes.first == UInt8(ascii: "@") { bytes[0] = 0 }
    let isAbstract = bytes.first == 0
    guard !bytes.isEmpty, bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
      errno = ENAMETOOLONG
      return nil
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    // The name of an abstract socket has no terminating zero.
    let start = MemoryLayout<sockaddr_un>.size - MemoryLayout.size(ofValue: address.sun_path)
    let length = socklen_t(start + bytes.count + (isAbstract ? 0 : 1))
    return withUnsafeBytes(of: &address) { bytes in
      bytes.baseAddress.map { body($0.assumingMemoryBound(to: sockaddr.self), length) }
    }
  }
}
