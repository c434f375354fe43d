import FoundationEssentials

/// Parsing of untrusted JSON within limits.
package enum JSONDocument {
  /// Maximum nesting depth of objects and arrays; manifests need five levels.
  package static let maximumDepth = 64

  /// Decodes a value.
  ///
  /// The depth is checked before decoding, as a recursive decoder uses stack for each level.
  ///
  /// - Parameters:
  ///   - type: The type of the value.
  ///   - bytes: The document in UTF-8.
  /// - Throws: `DocumentError` with the problem as one line.
  package static func decode<Value: Decodable>(
    _ type: Value.Type,
    from bytes: [UInt8]
  ) throws(DocumentError) -> Value {
    guard depth(of: bytes) <= maximumDepth else {
      throw DocumentError(reason: "JSON is nested more than \(maximumDepth) deep")
    }
    do {
      return try JSONDecoder().decode(type, from: Data(bytes))
    } catch let error as DecodingError {
      throw DocumentError(reason: describe(error))
    } catch {
      throw DocumentError(reason: "not JSON: \(error)")
    }
  }

  /// Encodes a value with sorted keys, so that equal values give equal bytes.
  ///
  /// - Throws: The error of its `encode(to:)`.
  package static func encode(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(value))
  }

  static func depth(of bytes: [UInt8]) -> Int {
    var depth = 0
    var deepest = 0
    var inString = false
    var escaped = false
    for byte in bytes {
      if inString {
        if escaped {
          escaped = false
        } else if byte == UInt8(ascii: "\\") {
          escaped = true
        } else if byte == UInt8(ascii: "\"") {
          inString = false
        }
        continue
      }
      switch byte {
      case UInt8(ascii: "\""): inString = true
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
        deepest = max(deepest, depth)
      case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
      default: break
      }
    }
    return deepest
  }

  static func describe(_ error: DecodingError) -> String {
    let (context, what): (DecodingError.Context, String) =
      switch error {
      case .keyNotFound(let key, let context): (context, "'\(key.stringValue)' is missing")
      case .typeMismatch(_, let context), .valueNotFound(_, let context): (context, context.debugDescription)
      case .dataCorrupted(let context): (context, context.debugDescription)
      @unknown default: (.init(codingPath: [], debugDescription: ""), "\(error)")
      }
    let path = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(
      separator: "."
    )
    return path.isEmpty ? what : "\(path): \(what)"
  }
}

/// A document that is invalid.
package struct DocumentError: Error, Sendable, Equatable, CustomStringConvertible {
  /// One line for the user.
  package let reason: String

  /// Creates an error.
  ///
  /// - Parameter reason: One line; truncated to 400 characters.
  package init(reason: String) { self.reason = String(reason.prefix(400)) }

  package var description: String { reason }
}
