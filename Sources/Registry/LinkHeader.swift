/// Parses `Link` headers (RFC 8288), as far as paging needs them.
enum LinkHeader {
  /// Returns the target with `rel="next"`, or nil if there is none.
  static func next(_ headers: [String]) -> String? {
    for header in headers {
      var rest = header[...]
      while let open = rest.firstIndex(of: "<"), let close = rest[open...].firstIndex(of: ">") {
        let target = rest[rest.index(after: open)..<close]
        let after = rest[rest.index(after: close)...]
        let end = after.firstIndex(of: "<") ?? after.endIndex
        let parameters = after[..<end].lowercased().filter { $0 != " " && $0 != "\"" }
        if parameters.split(whereSeparator: { $0 == ";" || $0 == "," }).contains("rel=next") {
          return String(target)
        }
        rest = after[end...]
      }
    }
    return nil
  }
}
