import FoundationEssentials

/// Base64 as RFC 7617 and Docker's `auth` members use it.
enum Base64 {
  static func encode(_ text: String) -> String { Data(text.utf8).base64EncodedString() }

  static func decode(_ text: String) -> String? {
    var data = Data(base64Encoded: text)
    // Some tools omit the padding.
    if data == nil {
      data = Data(base64Encoded: text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4))
    }
    return data.map { String(decoding: $0, as: UTF8.self) }
  }
}
