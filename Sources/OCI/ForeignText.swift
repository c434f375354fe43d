/// Makes untrusted text safe for a terminal or a log.
package enum ForeignText {
  /// Replaces characters that a terminal interprets or hides: control characters (C0, DEL, C1), and
  /// characters that change the order or position of others (bidirectional controls, line and paragraph
  /// separators, tags, noncharacters).
  ///
  /// - Parameter text: Text from a registry, a file name or a document.
  /// - Returns: Text with the same number of characters.
  package static func visible(_ text: some StringProtocol) -> String {
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars { result.append(isVisible(scalar) ? scalar : "\u{fffd}") }
    return String(result)
  }

  /// Returns the beginning of a text body as one line.
  ///
  /// - Parameters:
  ///   - bytes: The untrusted bytes.
  ///   - limit: The maximum number of characters.
  package static func excerpt(_ bytes: some Collection<UInt8>, limit: Int = 200) -> String {
    // A character has at most four bytes, and a run of white space becomes one space.
    let text = String(decoding: bytes.prefix(limit * 8), as: UTF8.self)
    let words = text.split { $0.isWhitespace || $0.isNewline }.joined(separator: " ")
    return visible(words.prefix(limit))
  }

  /// Returns JSON in which characters that a terminal interprets or hides are replaced with `\u` escapes.
  ///
  /// - Parameter bytes: A document without white space between its tokens.
  package static func escaped(json bytes: [UInt8]) -> String {
    var result = ""
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      if isVisible(scalar) {
        result.unicodeScalars.append(scalar)
      } else {
        for unit in String(scalar).utf16 {
          let digits = String(unit, radix: 16)
          result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
      }
    }
    return result
  }

  private static func isVisible(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse: return false
    case .format:
      // Joiners are part of words and emoji; all other characters of this category are invisible or reorder
      // text.
      return scalar == "\u{200c}" || scalar == "\u{200d}"
    default: return true
    }
  }
}
