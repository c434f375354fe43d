package import Content
import Disk
import Glibc
import SystemPackage

/// Asks the daemon of a mount by its control socket.
package enum ControlClient {
  // Seconds for the connection and the answer.
  private static let timeLimit = 10
  // Bytes. A status with a thousand open files has some hundred KiB.
  private static let limit = 16 << 20

  /// Sends a request; blocks the calling thread.
  ///
  /// - Parameters:
  ///   - path: The path of the socket.
  ///   - request: A method and a path, such as `GET /status`.
  /// - Returns: The body of the answer.
  /// - Throws: `ContentError`; of code `notFound` if no daemon listens there, `disk` if it refuses the request.
  package static func ask(_ path: String, _ request: String) throws(ContentError) -> [UInt8] {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw ContentError(.disk, path, Errno(rawValue: errno)) }
    defer { close(descriptor) }
    SocketAddress.setTimeLimit(descriptor, timeLimit)
    guard SocketAddress.connect(descriptor, unix: path) else {
      let reason = Errno(rawValue: errno)
      throw ContentError(.notFound, path, "no daemon of this user answers there: \(reason)")
    }
    let text = Array("\(request) HTTP/1.1\r\nHost: weightfs\r\nConnection: close\r\n\r\n".utf8)
    guard send(descriptor, text, text.count, Int32(MSG_NOSIGNAL)) == text.count else {
      throw ContentError(.disk, path, Errno(rawValue: errno))
    }
    var answer: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while answer.count < Self.limit {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      guard count >= 0 else {
        throw ContentError(.timedOut, path, "the daemon does not answer within \(timeLimit) s")
      }
      if count == 0 { break }
      answer += buffer[..<count]
    }
    return try body(of: answer, path)
  }

  private static func body(of answer: [UInt8], _ path: String) throws(ContentError) -> [UInt8] {
    guard let mark = answer.firstRange(of: Array("\r\n\r\n".utf8)) else {
      throw ContentError(.disk, path, "the daemon sent no answer")
    }
    let body = Array(answer[mark.upperBound...])
    guard answer.starts(with: Array("HTTP/1.1 200 ".utf8)) else {
      let text = String(decoding: body.prefix(500), as: UTF8.self)
      throw ContentError(.disk, path, "the daemon refuses the request: \(text.filter { $0 != "\n" })")
    }
    return body
  }
}
