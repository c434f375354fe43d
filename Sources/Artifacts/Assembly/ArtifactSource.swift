package import Layouts
import LocalRegistry
package import OCI
package import SystemPackage

/// An artifact as named on the command line: a reference, or a layout on this machine, such as
/// `oci:DIR[:TAG|:@N|@DIGEST]`, `docker-archive:FILE` or `./file.tar`.
package enum ArtifactSource: Sendable, Hashable {
  case reference(Reference)
  case layout(LayoutKind, FilePath, LayoutEntry)

  /// Parses an argument.
  ///
  /// - Parameter text: The argument; a path ends at the first colon, as in skopeo. A text that begins with `/`
  ///   or `.` is a path whose form is found out by looking.
  /// - Throws: `DocumentError`.
  package init(parsing text: String) throws(DocumentError) {
    if let first = text.first, first == "/" || first == "." {
      let (path, target) = try Self.split(text[...], text)
      self = .layout(.detected, path, target)
      return
    }
    for kind in LayoutKind.allCases where kind != .detected {
      let prefix = "\(kind.rawValue):"
      guard text.hasPrefix(prefix), !text.hasPrefix("\(prefix)//") || kind != .directory else { continue }
      let (path, target) = try Self.split(text.dropFirst(prefix.count), text)
      self = .layout(kind, path, target)
      return
    }
    self = .reference(try Reference(parsing: text))
  }

  private static func split(
    _ rest: Substring,
    _ text: String
  ) throws(DocumentError) -> (FilePath, LayoutEntry) {
    // oras and skopeo separate a digest by an at sign; a path may contain one, too.
    if let at = rest.lastIndex(of: "@"), let digest = Digest(String(rest[rest.index(after: at)...])) {
      // A tag before the digest, which skopeo writes as an empty one, is redundant.
      let path = rest[..<at].prefix { $0 != ":" }
      guard !path.isEmpty else { throw DocumentError(reason: "'\(text.prefix(200))' names no path") }
      return (FilePath(String(path)), .named(.digest(digest)))
    }
    let colon = rest.firstIndex(of: ":")
    let path = colon.map { rest[..<$0] } ?? rest
    guard !path.isEmpty else { throw DocumentError(reason: "'\(text.prefix(200))' names no path") }
    guard let colon else { return (FilePath(String(path)), .only) }
    let name = String(rest[rest.index(after: colon)...])
    if let digest = Digest(name) { return (FilePath(String(path)), .named(.digest(digest))) }
    // The name of an entry may be a full reference; the entry is found by its tag or by the full name.
    guard !name.isEmpty else { throw DocumentError(reason: "'\(text.prefix(200))' ends with a colon") }
    if name.first == "@", let number = Int(name.dropFirst()), number >= 0 {
      return (FilePath(String(path)), .number(number))
    }
    return (FilePath(String(path)), .named(.tag(name)))
  }
}
