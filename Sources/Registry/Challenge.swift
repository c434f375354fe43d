/// One challenge of a `WWW-Authenticate` header (RFC 9110 11.6.1).
package struct Challenge: Sendable, Hashable {
  /// The scheme in lower case, such as `bearer` or `basic`.
  package let scheme: String
  /// The parameters by their names in lower case.
  package let parameters: [String: String]

  /// Parses every challenge of a header.
  ///
  /// Commas separate challenges as well as parameters; inside quoted strings they are text.
  ///
  /// - Parameter header: The header's value.
  package static func parse(_ header: String) -> [Challenge] {
    var parser = Parser(header)
    return parser.challenges()
  }

  private struct Parser {
    private let bytes: [UInt8]
    private var position = 0

    init(_ text: String) { bytes = Array(text.utf8.prefix(16_384)) }

    mutating func challenges() -> [Challenge] {
      var found: [Challenge] = []
      var scheme: String?
      var parameters: [String: String] = [:]
      func flush() {
        if let scheme { found.append(Challenge(scheme: scheme.lowercased(), parameters: parameters)) }
      }
      while true {
        skip { Self.isSpace($0) || $0 == UInt8(ascii: ",") }
        let word = token()
        guard !word.isEmpty else { break }
        let before = position
        skip(Self.isSpace)
        if peek == UInt8(ascii: "="), scheme != nil {
          position += 1
          skip(Self.isSpace)
          let value = peek == UInt8(ascii: "\"") ? quoted() : token()
          // The first of two equal names counts, so that an appended parameter cannot change its meaning.
          if parameters[word.lowercased()] == nil { parameters[word.lowercased()] = value }
        } else {
          flush()
          scheme = word
          parameters = [:]
          // A token68 follows a scheme without a name (`Negotiate abc==`); it is skipped.
          if position > before, let byte = peek, Self.isTokenByte(byte) {
            let mark = position
            _ = token()
            skip { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "+") || Self.isTokenByte($0) }
            let end = position
            skip { $0 == UInt8(ascii: "=") }
            let isPadding = position > end && (peek == nil || peek == UInt8(ascii: ","))
            if !isPadding { position = mark }
          }
        }
      }
      flush()
      return found
    }

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skip(_ condition: (UInt8) -> Bool) {
      while let byte = peek, condition(byte) { position += 1 }
    }

    private mutating func token() -> String {
      let start = position
      skip(Self.isTokenByte)
      return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private mutating func quoted() -> String {
      position += 1
      var value: [UInt8] = []
      while let byte = peek {
        position += 1
        if byte == UInt8(ascii: "\"") { break }
        if byte == UInt8(ascii: "\\"), let next = peek {
          value.append(next)
          position += 1
        } else {
          value.append(byte)
        }
      }
      return String(decoding: value, as: UTF8.self)
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "A")...UInt8(ascii: "Z"):
        true
      default: "!#$%&'*+-.^_`|~:/".utf8.contains(byte)
      }
    }
  }
}
