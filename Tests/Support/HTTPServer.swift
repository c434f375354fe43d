import Foundation
import Synchronization

/// A small HTTP/1.1 server on loopback whose answers can have any fault that a test needs.
///
/// Used only for faults: regular behavior is tested with a real registry.
package final class HTTPServer: Sendable {
  /// A received request.
  package struct Request: Sendable {
    package let method: String
    package let path: String
    package let query: String
    package let headers: [String: String]
    package let body: [UInt8]
    /// The number of the connection, starting from 1.
    package let connection: Int

    /// Returns the single range, clamped to a size.
    package func range(size: Int) -> Range<Int>? {
      guard let text = headers["range"], text.hasPrefix("bytes=") else { return nil }
      let ends = text.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
      guard ends.count == 2, let first = Int(ends[0]) else { return nil }
      let last = Int(ends[1]) ?? size - 1
      return first < size && first <= last ? first..<min(last + 1, size) : nil
    }
  }

  /// An answer.
  package struct Answer: Sendable {
    package var status: Int
    package var headers: [(String, String)]
    package var body: [UInt8]
    /// The value of Content-Length; nil for the actual length.
    package var declaredLength: Int?
    /// Whether Content-Length is omitted.
    package var omitsLength = false
    /// Bytes of the body sent per second; nil for no limit.
    package var rate: Int?
    /// Closes the connection after this many bytes of the body.
    package var cutAfter: Int?
    /// Stops sending after this many bytes, until the server stops.
    package var stallAfter: Int?

    /// Creates an answer.
    package init(_ status: Int, headers: [(String, String)] = [], body: [UInt8] = []) {
      self.status = status
      self.headers = headers
      self.body = body
    }
  }

  private struct State {
    var requests: [Request] = []
    var connections = 0
    var sockets: Set<Int32> = []
    var isStopped = false
  }

  package let port: Int
  private let listener: Int32
  private let state = Mutex(State())
  private let handler: @Sendable (Request) -> Answer

  /// Starts a server on a free port.
  ///
  /// - Parameters:
  ///   - address: where it listens, of version 4 or 6.
  ///   - handler: answers each request.
  package init(
    at address: String = "127.0.0.1",
    _ handler: @escaping @Sendable (Request) -> Answer
  ) throws {
    self.handler = handler
    var hints = addrinfo()
    hints.ai_flags = AI_NUMERICHOST
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(address, "0", &hints, &found) == 0, let place = found?.pointee else {
      throw POSIXError(.EADDRNOTAVAIL)
    }
    defer { freeaddrinfo(found) }
    listener = socket(place.ai_family, Int32(SOCK_STREAM.rawValue), 0)
    guard bind(listener, place.ai_addr, place.ai_addrlen) == 0, listen(listener, 64) == 0 else {
      throw POSIXError(.EADDRINUSE)
    }
    let descriptor = listener
    var own = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    _ = withUnsafeMutablePointer(to: &own) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    }
    // The port lies behind the family in addresses of both versions.
    port = withUnsafeBytes(of: own) { Int($0[2]) << 8 | Int($0[3]) }
    Thread.detachNewThread { self.accept() }
  }

  /// Every request so far.
  package var requests: [Request] { state.withLock { $0.requests } }

  /// Forgets the requests so far.
  package func forgetRequests() { state.withLock { $0.requests = [] } }

  /// Number of connections made.
  package var connectionCount: Int { state.withLock { $0.connections } }

  /// Closes all sockets; requests in flight are aborted.
  ///
  /// A second call has no effect.
  package func stop() {
    // Under the lock: the number of a closed descriptor may be reused for another socket.
    let isFirst = state.withLock { state in
      defer { state.isStopped = true }
      guard !state.isStopped else { return false }
      for socket in state.sockets { shutdown(socket, Int32(SHUT_RDWR)) }
      return true
    }
    // The accepting thread closes the listener once it wakes up.
    if isFirst { shutdown(listener, Int32(SHUT_RDWR)) }
  }

  private func accept() {
    defer { close(listener) }
    while true {
      let socket = Glibc.accept(listener, nil, nil)
      if socket < 0 { return }
      let number: Int? = state.withLock { state in
        guard !state.isStopped else { return nil }
        state.connections += 1
        state.sockets.insert(socket)
        return state.connections
      }
      guard let number else {
        close(socket)
        return
      }
      Thread.detachNewThread {
        self.serve(socket, number)
        _ = self.state.withLock { $0.sockets.remove(socket) }
        close(socket)
      }
    }
  }

  private func serve(_ socket: Int32, _ number: Int) {
    var buffer: [UInt8] = []
    while let request = readRequest(socket, &buffer, number) {
      state.withLock { $0.requests.append(request) }
      let answer = handler(request)
      guard send(answer, to: request, socket) else { return }
    }
  }

  private func readRequest(_ socket: Int32, _ buffer: inout [UInt8], _ number: Int) -> Request? {
    let end = Array("\r\n\r\n".utf8)
    var piece = [UInt8](repeating: 0, count: 65_536)
    while true {
      if let mark = buffer.firstRange(of: end) {
        let head = String(decoding: buffer[..<mark.lowerBound], as: UTF8.self)
        var lines = head.components(separatedBy: "\r\n")
        let words = lines.removeFirst().split(separator: " ")
        guard words.count == 3 else { return nil }
        var headers: [String: String] = [:]
        for line in lines {
          guard let colon = line.firstIndex(of: ":") else { continue }
          headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(
            in: .whitespaces
          )
        }
        let length = headers["content-length"].flatMap { Int($0) } ?? 0
        while buffer.count < mark.upperBound + length {
          let count = recv(socket, &piece, piece.count, 0)
          guard count > 0 else { return nil }
          buffer += piece[..<count]
        }
        let body = Array(buffer[mark.upperBound..<mark.upperBound + length])
        buffer.removeSubrange(..<(mark.upperBound + length))
        let target = words[1].split(separator: "?", maxSplits: 1)
        return Request(
          method: String(words[0]),
          path: String(target[0]),
          query: target.count > 1 ? String(target[1]) : "",
          headers: headers,
          body: body,
          connection: number
        )
      }
      let count = recv(socket, &piece, piece.count, 0)
      guard count > 0 else { return nil }
      buffer += piece[..<count]
    }
  }

  private func send(_ answer: Answer, to request: Request, _ socket: Int32) -> Bool {
    var head = "HTTP/1.1 \(answer.status) Status\r\n"
    for (name, value) in answer.headers { head += "\(name): \(value)\r\n" }
    if !answer.omitsLength { head += "Content-Length: \(answer.declaredLength ?? answer.body.count)\r\n" }
    head += "\r\n"
    guard sendAll(socket, Array(head.utf8)) else { return false }
    guard request.method != "HEAD" else { return true }
    let limit = min(answer.cutAfter ?? .max, answer.stallAfter ?? .max, answer.body.count)
    if let rate = answer.rate {
      // Ten pieces per second, until the peer closes the connection or the server stops.
      for first in stride(from: 0, to: limit, by: max(1, rate / 10)) {
        let piece = answer.body[first..<min(limit, first + max(1, rate / 10))]
        guard sendAll(socket, piece), !state.withLock({ $0.isStopped }) else { return false }
        usleep(100_000)
      }
      return limit == answer.body.count && answer.cutAfter == nil
    }
    guard sendAll(socket, answer.body[..<limit]) else { return false }
    if answer.stallAfter != nil, limit < answer.body.count {
      // Until the peer closes the connection or the server stops.
      var byte: UInt8 = 0
      _ = recv(socket, &byte, 1, 0)
      return false
    }
    return limit == answer.body.count && answer.cutAfter == nil
  }

  private func sendAll(_ socket: Int32, _ bytes: some Sequence<UInt8>) -> Bool {
    let bytes = Array(bytes)
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { buffer in
        Glibc.send(socket, buffer.baseAddress.map { $0 + done }, bytes.count - done, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { return false }
      done += count
    }
    return true
  }
}
