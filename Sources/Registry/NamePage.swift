import OCI

/// A page of names as registries list them: an object of which one member is an array of strings.
///
/// A page may have 16 MiB, so it is scanned and not decoded.
enum NamePage {
  /// The names of a page.
  ///
  /// - Parameters:
  ///   - key: of the array, such as `tags`; a page without it, or with `null`, has no names.
  ///   - body: all of the page.
  ///   - limit: of names; the rest of the page is not read.
  ///   - isName: by the grammar; others are passed over, as is what is no string.
  /// - Returns: in the order of the page.
  /// - Throws: `DocumentError` where the page is no such object.
  static func names(
    _ key: String,
    in body: [UInt8],
    limit: Int,
    _ isName: (String) -> Bool
  ) throws(DocumentError) -> [String] {
    var scanner = JSONScanner(body[...])
    var found: [String] = []
    try scanner.enterObject()
    while let name = try scanner.nextKey() {
      guard name == key, try !scanner.isNull() else {
        if name != key { try scanner.skip() }
        continue
      }
      try scanner.enterArray()
      while try scanner.nextElement() {
        guard scanner.isNext(UInt8(ascii: "\"")) else {
          try scanner.skip()
          continue
        }
        let text = try scanner.string()
        guard isName(text) else { continue }
        found.append(text)
        if found.count >= limit { return found }
      }
    }
    try scanner.finish()
    return found
  }
}
