package import OCI
package import SystemPackage

/// What a user names on the command line: a reference, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
package enum ArtifactSource: Sendable, Hashable {
  case reference(Reference)
  case directory(FilePath, Reference.Target?)
  case archive(FilePath, Reference.Target?)

  /// Reads what a user wrote.
  ///
  /// - Parameter text: as written; paths end at the first colon, as those of skopeo do.
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
  ) throws(DocumentError) -> (FilePath, Reference.Target?) {
    let colon = rest.firstIndex(of: ":")
    let path = colon.map { rest[..<$0] } ?? rest
    guard !path.isEmpty else { throw DocumentError(reason: "'\(text.prefix(200))' names no path") }
    guard let colon else { return (FilePath(String(path)), nil) }
    let name = String(rest[rest.index(after: colon)...])
    if let digest = Digest(name) { return (FilePath(String(path)), .digest(digest)) }
    // A name in an index may be a full reference; the entry is found by its tag or by the whole name.
    guard !name.isEmpty else { throw DocumentError(reason: "'\(text.prefix(200))' ends with a colon") }
    return (FilePath(String(path)), .tag(name))
  }
}
