import OCI

/// A page of names from a registry: an object with one member that is an array of strings.
///
/// A page may have 16 MiB, so it is scanned and not decoded.
enum NamePage {
  /// Returns the names of a page, in the order of the page.
  ///
  /// - Parameters:
  ///   - key: The key of the array, such as `tags`; a page without it, or with `null`, has no names.
  ///   - body: The complete page.
  ///   - limit: The maximum number of names; scanning stops there.
  ///   - isName: Whether a string is a valid name; invalid names and other values are skipped.
  /// - Throws: `DocumentError` if the page does not have this format.
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
