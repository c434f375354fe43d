/// Text from outside as a terminal or a log may have it.
package enum ForeignText {
  /// Replaces what a terminal obeys or hides: control characters (C0, DEL, C1), and characters that change the order
  /// or the place of others (bidirectional controls, separators of lines and paragraphs, tags, noncharacters).
  ///
  /// - Parameter text: from a registry, a file name or a document.
  /// - Returns: as many characters, each of them harmless.
  package static func visible(_ text: some StringProtocol) -> String {
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars { result.append(isVisible(scalar) ? scalar : "\u{fffd}") }
    return String(result)
  }

  /// The beginning of a body that is text, in one line.
  ///
  /// - Parameters:
  ///   - bytes: as they came.
  ///   - limit: of characters.
  /// - Returns: at most `limit` characters.
  package static func excerpt(_ bytes: some Collection<UInt8>, limit: Int = 200) -> String {
    // A character has at most four bytes, and runs of white space become one blank.
    let text = String(decoding: bytes.prefix(limit * 8), as: UTF8.self)
    let words = text.split { $0.isWhitespace || $0.isNewline }.joined(separator: " ")
    return visible(words.prefix(limit))
  }

  /// JSON without raw characters that a terminal obeys or hides: within its strings they become `\u` escapes.
  ///
  /// - Parameter bytes: a document without white space between its parts.
  /// - Returns: the same document.
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
      // Joiners are part of words and emoji; everything else of this category is invisible or reorders text.
      return scalar == "\u{200c}" || scalar == "\u{200d}"
    default: return true
    }
  }
}
