/// A request to the control socket: the first line of an HTTP/1.1 request.
///
/// A pure value.
struct ControlRequest: Equatable {
  let method: String
  /// The path without a query.
  let path: String

  /// Bytes of the longest request.
  static let limit = 8192

  /// Parses a request, or returns nil if it is incomplete or not HTTP.
  init?(_ bytes: some Collection<UInt8>) {
    let text = String(decoding: bytes.prefix(Self.limit), as: UTF8.self)
    guard text.contains("\r\n\r\n") || text.contains("\n\n") else { return nil }
    let words = text.prefix { $0 != "\r\n" && $0 != "\n" }.split(separator: " ")
    guard words.count == 3, words[2].hasPrefix("HTTP/1."), words[1].hasPrefix("/") else { return nil }
    method = String(words[0])
    path = String(words[1].prefix { $0 != "?" })
  }
}

/// A response of the control socket.
struct ControlResponse: Sendable {
  let status: String
  let type: String
  let body: [UInt8]

  static func ok(_ type: String, _ body: [UInt8]) -> ControlResponse {
    ControlResponse(status: "200 OK", type: type, body: body)
  }

  static func failed(_ status: String, _ text: String) -> ControlResponse {
    ControlResponse(status: status, type: "text/plain", body: Array("\(text)\n".utf8))
  }

  /// The bytes of the response; the connection ends with it.
  var bytes: [UInt8] {
    Array(
      "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(body.count)\r\nConnection: close\r\n\r\n"
        .utf8
    ) + body
  }
}
