package import Layouts
import LocalRegistry
package import OCI
package import SystemPackage

/// An artifact as named on the command line: a reference, `oci:DIR[:TAG|:@N|@DIGEST]`, or `oci-archive:FILE`
/// likewise.
package enum ArtifactSource: Sendable, Hashable {
  case reference(Reference)
  case directory(FilePath, LayoutEntry)
  case archive(FilePath, LayoutEntry)

  /// Parses an argument.
  ///
  /// - Parameter text: The argument; a path ends at the first colon, as in skopeo.
  /// - Throws: `DocumentError`.
  package init(parsing text: String) throws(DocumentError) {
    if text.hasPrefix("oci-archive:") {
      let (path, target) = try Self.split(text.dropFirst("oci-archive:".count), text)
      self = .archive(path, target)
    } else if text.hasPrefix("oci:"), !text.hasPrefix("oci://") {
      let (path, target) = try Self.split(text.dropFirst("oci:".count), text)
      self = .directory(path, target)
    } else {
      self = .reference(try Reference(parsing: text))
    }
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
