package import Content
import Glibc
import Locking
import SystemPackage

/// Serves the status and the metrics of a mount by HTTP/1.1, on a Unix socket and optionally on a TCP address
/// (decisions/0016).
///
/// A connection has one request. Requests are short, bounded in size and time, and read nothing from the mount.
package final class ControlServer: Sendable {
  /// The place that a server listens at.
  package enum Address: Sendable, Equatable {
    /// A socket with mode 0600.
    case unix(String)
    /// Only `/metrics` and `/healthz` are served, as every user of the network can connect.
    case tcp(host: String, port: UInt16)
  }

  private let descriptor: Int32
  private let address: Address
  private let acceptor = BlockingExecutor(label: "weightfs.accept", threads: 1)
  // Connections that are served at once; further ones wait.
  private let executor = BlockingExecutor(label: "weightfs.control", threads: 2)

  // Seconds that a client has for its request, and for taking the response.
  private static let timeLimit = 5
  private static let backlog: Int32 = 16

  /// Starts to listen.
  ///
  /// - Parameters:
  ///   - address: The place to listen at.
  ///   - board: The status and the metrics.
  ///   - reload: Reads the configuration again; returns the reason why that failed, or nil.
  /// - Throws: `ContentError` if the address cannot be used.
  package init(
    _ address: Address,
    board: StatusBoard,
    reload: @escaping @Sendable () -> String?
  ) throws(ContentError) {
    self.address = address
    descriptor = try Self.listen(address)
    acceptor.start { [descriptor, executor] in
      // Ends when the socket is shut down.
      while let connection = Self.accept(descriptor) {
        executor.start { Self.serve(connection, address, board, reload) }
      }
    }
  }

  deinit {
    shutdown(descriptor, Int32(SHUT_RDWR))
    Glibc.close(descriptor)
    if case .unix(let path) = address { unlink(path) }
  }

  private static func accept(_ descriptor: Int32) -> Int32? {
    while true {
      let connection = Glibc.accept(descriptor, nil, nil)
      if connection >= 0 {
        _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
        return connection
      }
      // A client that gave up, or too many open files for a moment.
      guard [EINTR, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(errno) else { return nil }
      if errno != EINTR { usleep(10_000) }
    }
  }

  private static func listen(_ address: Address) throws(ContentError) -> Int32 {
    let (domain, name): (Int32, String) =
      switch address {
      case .unix(let path): (AF_UNIX, path)
      case .tcp(let host, let port): (host.contains(":") ? AF_INET6 : AF_INET, "\(host):\(port)")
      }
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let descriptor = socket(domain, kind, 0)
    guard descriptor >= 0 else { throw failure(name) }
    var isBound: Bool
    switch address {
    case .unix(let path):
      // A socket of a daemon that was killed; the caller has checked that no other daemon serves the mount.
      unlink(path)
      isBound = SocketAddress.bind(descriptor, unix: path) && chmod(path, 0o600) == 0
    case .tcp(let host, let port):
      var one: Int32 = 1
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
      isBound = SocketAddress.bind(descriptor, host: host, port: port)
    }
    isBound = isBound && Glibc.listen(descriptor, backlog) == 0
    guard isBound else {
      let error = failure(name)
      Glibc.close(descriptor)
      throw error
    }
    return descriptor
  }

  private static func failure(_ name: String) -> ContentError {
    ContentError(
      .disk,
      name,
      "cannot listen there: \(Errno(rawValue: errno))",
      advice: "Choose another address"
    )
  }

  private static func serve(
    _ connection: Int32,
    _ address: Address,
    _ board: StatusBoard,
    _ reload: () -> String?
  ) {
    defer { Glibc.close(connection) }
    SocketAddress.setTimeLimit(connection, timeLimit)
    guard let request = read(connection) else { return }
    let response = answer(request, isLocal: address.isLocal, board, reload)
    response.bytes.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        let count = send(
          connection,
          bytes.baseAddress.map { $0 + done },
          bytes.count - done,
          Int32(MSG_NOSIGNAL)
        )
        guard count > 0 else { return }
        done += count
      }
    }
  }

  private static func read(_ connection: Int32) -> ControlRequest? {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 2048)
    let end = ContinuousClock.now + .seconds(timeLimit)
    while bytes.count < ControlRequest.limit, .now < end {
      let count = recv(connection, &buffer, buffer.count, 0)
      guard count > 0 else { return nil }
      bytes += buffer[..<count]
      if let request = ControlRequest(bytes) { return request }
    }
    return nil
  }

  static func answer(
    _ request: ControlRequest,
    isLocal: Bool,
    _ board: StatusBoard,
    _ reload: () -> String?
  ) -> ControlResponse {
    switch (request.method, request.path) {
    case ("GET", "/metrics"): .ok("text/plain; version=0.0.4; charset=utf-8", Array(board.metricsText.utf8))
    case ("GET", "/healthz"): .ok("text/plain", Array("ok\n".utf8))
    case ("GET", "/status") where isLocal: .ok("application/json", board.status.json + [0x0a])
    case ("POST", "/reload") where isLocal:
      reload().map { .failed("409 Conflict", $0) } ?? .ok("text/plain", Array("reloaded\n".utf8))
    case ("GET", _), ("POST", _): .failed("404 Not Found", "there is no \(request.path.prefix(100))")
    default: .failed("405 Method Not Allowed", "GET and POST are supported")
    }
  }
}

extension ControlServer.Address {
  fileprivate var isLocal: Bool { if case .unix = self { true } else { false } }

  /// Parses the address of `--metrics`: `PORT`, `HOST:PORT` or `[HOST]:PORT`; a port alone is one of loopback.
  package init?(parsing text: String) {
    let mark = text.lastIndex(of: ":")
    let portText = mark.map { text[text.index(after: $0)...] } ?? text[...]
    guard let port = UInt16(portText) else { return nil }
    var host = mark.map { text[..<$0] } ?? "127.0.0.1"
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    if host.isEmpty || host == "localhost" { host = "127.0.0.1" }
    guard SocketAddress.isAddress(String(host)) else { return nil }
    self = .tcp(host: String(host), port: port)
  }
}
