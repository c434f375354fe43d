/// Reads JSON value by value, without building a tree.
///
/// For documents of many megabytes of which only a part is needed: a page of tags, the header of a model
/// file. Needs memory only for the values that the caller keeps. Small documents are decoded by
/// `JSONDocument`.
package struct JSONScanner {
  private let bytes: ArraySlice<UInt8>
  private var position: Int
  /// For each open object and array, whether a value of it was read.
  private var hasRead: [Bool] = []

  /// Creates a scanner, positioned before the first value.
  ///
  /// - Parameter bytes: The document in UTF-8, not copied.
  package init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    position = bytes.startIndex
  }

  // MARK: Values

  /// Enters an object; the caller then calls `nextKey` until it returns nil.
  ///
  /// - Throws: `DocumentError` if the next value is not an object, or the nesting is too deep.
  package mutating func enterObject() throws(DocumentError) { try enter(UInt8(ascii: "{")) }

  /// Enters an array; the caller then calls `nextElement` until it returns false.
  ///
  /// - Throws: `DocumentError` if the next value is not an array, or the nesting is too deep.
  package mutating func enterArray() throws(DocumentError) { try enter(UInt8(ascii: "[")) }

  /// Returns the next key of the current object, whose value is next; at the end of the object leaves it and
  /// returns nil.
  ///
  /// - Throws: `DocumentError`.
  package mutating func nextKey() throws(DocumentError) -> String? {
    guard try next(end: UInt8(ascii: "}")) else { return nil }
    let key = try string()
    try expect(UInt8(ascii: ":"))
    return key
  }

  /// Whether the current array has another value, which is next; at the end of the array leaves it and
  /// returns false.
  ///
  /// - Throws: `DocumentError`.
  package mutating func nextElement() throws(DocumentError) -> Bool { try next(end: UInt8(ascii: "]")) }

  /// Reads a string.
  ///
  /// - Throws: `DocumentError` if the next value is not a string.
  package mutating func string() throws(DocumentError) -> String {
    try expect(UInt8(ascii: "\""))
    let start = position
    while position < bytes.endIndex {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        defer { position += 1 }
        return String(decoding: bytes[start..<position], as: UTF8.self)
      case UInt8(ascii: "\\"): return try escapedString(from: start)
      case ..<0x20: throw error("control character in a string")
      default: position += 1
      }
    }
    throw error("unterminated string")
  }

  /// Reads an integer.
  ///
  /// - Throws: `DocumentError` if the next value is not an integer of 64 bits.
  package mutating func integer() throws(DocumentError) -> Int64 {
    skipSpace()
    let start = position
    while position < bytes.endIndex, Self.isNumber(bytes[position]) { position += 1 }
    guard let value = Int64(String(decoding: bytes[start..<position], as: UTF8.self)) else {
      throw error("expected an integer")
    }
    return value
  }

  /// Whether the next value is `null`, which is then skipped.
  ///
  /// - Throws: `DocumentError`.
  package mutating func isNull() throws(DocumentError) -> Bool {
    skipSpace()
    guard position < bytes.endIndex, bytes[position] == UInt8(ascii: "n") else { return false }
    try word("null")
    return true
  }

  /// Whether the next value starts with a byte, such as `{`, `[` or `"`; false at the end of the document.
  package mutating func isNext(_ byte: UInt8) -> Bool {
    skipSpace()
    return position < bytes.endIndex && bytes[position] == byte
  }

  /// Skips the next value.
  ///
  /// - Throws: `DocumentError`.
  package mutating func skip() throws(DocumentError) {
    skipSpace()
    guard position < bytes.endIndex else { throw error("missing value") }
    switch bytes[position] {
    case UInt8(ascii: "{"):
      try enterObject()
      while try nextKey() != nil { try skip() }
    case UInt8(ascii: "["):
      try enterArray()
      while try nextElement() { try skip() }
    case UInt8(ascii: "\""): _ = try string()
    case UInt8(ascii: "t"): try word("true")
    case UInt8(ascii: "f"): try word("false")
    case UInt8(ascii: "n"): try word("null")
    default:
      let start = position
      while position < bytes.endIndex, Self.isNumber(bytes[position]) { position += 1 }
      guard position > start else { throw error("expected a value") }
    }
  }

  /// Checks that only white space remains.
  ///
  /// - Throws: `DocumentError` if more content follows.
  package mutating func finish() throws(DocumentError) {
    skipSpace()
    guard position == bytes.endIndex else { throw error("content after the document") }
  }

  // MARK: Parts

  private mutating func enter(_ byte: UInt8) throws(DocumentError) {
    guard hasRead.count < JSONDocument.maximumDepth else {
      throw DocumentError(reason: "JSON is nested more than \(JSONDocument.maximumDepth) deep")
    }
    try expect(byte)
    hasRead.append(false)
  }

  private mutating func next(end: UInt8) throws(DocumentError) -> Bool {
    guard let isLater = hasRead.last else { throw error("no object or array is open") }
    skipSpace()
    if position < bytes.endIndex, bytes[position] == end {
      position += 1
      hasRead.removeLast()
      return false
    }
    if isLater { try expect(UInt8(ascii: ",")) }
    hasRead[hasRead.count - 1] = true
    return true
  }

  private mutating func expect(_ byte: UInt8) throws(DocumentError) {
    skipSpace()
    guard position < bytes.endIndex, bytes[position] == byte else {
      throw error("expected '\(Character(UnicodeScalar(byte)))'")
    }
    position += 1
  }

  private mutating func word(_ text: StaticString) throws(DocumentError) {
    let expected = text.withUTF8Buffer { Array($0) }
    guard bytes[position...].starts(with: expected) else { throw error("expected a value") }
    position += expected.count
  }

  private mutating func skipSpace() {
    while position < bytes.endIndex, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[position]) { position += 1 }
  }

  private static func isNumber(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."),
      UInt8(ascii: "e"), UInt8(ascii: "E"):
      true
    default: false
    }
  }

  /// Reads the remainder of a string with escapes.
  private mutating func escapedString(from start: Int) throws(DocumentError) -> String {
    var text = Array(bytes[start..<position])
    while position < bytes.endIndex {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: text, as: UTF8.self)
      case ..<0x20: throw error("control character in a string")
      case UInt8(ascii: "\\"): text += try escape()
      default: text.append(byte)
      }
    }
    throw error("unterminated string")
  }

  private mutating func escape() throws(DocumentError) -> [UInt8] {
    guard position < bytes.endIndex else { throw error("unterminated string") }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
    case UInt8(ascii: "b"): return [0x08]
    case UInt8(ascii: "f"): return [0x0c]
    case UInt8(ascii: "n"): return [0x0a]
    case UInt8(ascii: "r"): return [0x0d]
    case UInt8(ascii: "t"): return [0x09]
    case UInt8(ascii: "u"): return Array(String(try scalar()).utf8)
    default: throw error("invalid escape sequence")
    }
  }

  /// Reads the character of `\uXXXX`, or of two of them that form a surrogate pair.
  private mutating func scalar() throws(DocumentError) -> Character {
    let first = try hexadecimal()
    if (0xd800..<0xdc00).contains(first), bytes[position...].starts(with: Array("\\u".utf8)) {
      position += 2
      let second = try hexadecimal()
      guard (0xdc00..<0xe000).contains(second) else { return "\u{fffd}" }
      let value = 0x10000 + (first - 0xd800) << 10 + (second - 0xdc00)
      return UnicodeScalar(value).map { Character($0) } ?? "\u{fffd}"
    }
    return UnicodeScalar(first).map { Character($0) } ?? "\u{fffd}"
  }

  private mutating func hexadecimal() throws(DocumentError) -> UInt32 {
    guard position + 4 <= bytes.endIndex,
      let value = UInt32(String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16)
    else { throw error("invalid escape sequence") }
    position += 4
    return value
  }

  private func error(_ reason: String) -> DocumentError {
    DocumentError(reason: "not JSON: \(reason) at byte \(position - bytes.startIndex)")
  }
}
