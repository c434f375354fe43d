/// The rules for untrusted paths.
///
/// Pure functions.
package enum TreePath {
  /// The maximum length of a path in bytes (PATH_MAX in limits.h).
  package static let maximumLength = 4096
  /// The maximum number of path components.
  package static let maximumDepth = 128

  /// Parses a path of an annotation, which must be relative and stay within the artifact.
  ///
  /// Empty components and `.` are skipped; `..` removes the previous component.
  ///
  /// - Parameter path: The untrusted path.
  /// - Returns: The components, at least one.
  /// - Throws: `PathProblem`, for example for a path that is absolute or leads above the root.
  package static func parse(annotation path: String) throws(PathProblem) -> [EntryName] {
    let bytes = Array(path.utf8)
    guard bytes.first != UInt8(ascii: "/") else { throw PathProblem(path: bytes, reason: "is absolute") }
    let (parts, isAbove) = cleaned(bytes)
    guard !isAbove else { throw PathProblem(path: bytes, reason: "leads above the root") }
    guard !parts.isEmpty else { throw PathProblem(path: bytes, reason: "is empty") }
    return try components(parts, of: bytes)
  }

  /// Parses the name of a tar member relative to the root of the artifact, like extraction into an empty
  /// root.
  ///
  /// Leading slashes, empty components and `.` are skipped; `..` removes the previous component and never
  /// leads above the root.
  ///
  /// - Parameter name: The raw bytes.
  /// - Returns: The components; none for the root itself.
  /// - Throws: `PathProblem`.
  package static func parse(member name: [UInt8]) throws(PathProblem) -> [EntryName] {
    try components(cleaned(name).parts, of: name)
  }

  private static func cleaned(_ path: [UInt8]) -> (parts: [ArraySlice<UInt8>], isAbove: Bool) {
    let dots = Array("..".utf8)
    var parts: [ArraySlice<UInt8>] = []
    var isAbove = false
    for part in path.split(separator: UInt8(ascii: "/")) where !part.elementsEqual(dots.prefix(1)) {
      if !part.elementsEqual(dots) {
        parts.append(part)
      } else if parts.popLast() == nil {
        isAbove = true
      }
    }
    return (parts, isAbove)
  }

  private static func components(
    _ parts: [ArraySlice<UInt8>],
    of path: [UInt8]
  ) throws(PathProblem) -> [EntryName] {
    guard path.count <= maximumLength else {
      throw PathProblem(path: path, reason: "is too long (\(path.count) bytes)")
    }
    guard parts.count <= maximumDepth else { throw PathProblem(path: path, reason: "is \(parts.count) deep") }
    var names: [EntryName] = []
    for part in parts {
      guard let name = EntryName(part) else {
        let reason =
          part.count > 255 ? "has a component of \(part.count) bytes" : "contains a NUL byte"
        throw PathProblem(path: path, reason: reason)
      }
      names.append(name)
    }
    return names
  }

  /// Rewrites the target of a symbolic link so that it stays within the artifact: `..` occurs only at its
  /// start, and at most as often as there are directories above the link.
  ///
  /// An absolute target is relative to the root of the artifact; `..` at the root stays there.
  ///
  /// - Parameters:
  ///   - target: The raw bytes.
  ///   - folder: The path of the directory that the link is in.
  /// - Returns: nil if the target is empty, contains a NUL byte or is too long.
  package static func linkTarget(_ target: [UInt8], in folder: [EntryName]) -> [UInt8]? {
    guard !target.isEmpty, target.count <= maximumLength, !target.contains(0) else { return nil }
    let slash = UInt8(ascii: "/")
    let dots = Array("..".utf8)
    var place: [[UInt8]] = target.first == slash ? [] : folder.map(\.bytes)
    for part in target.split(separator: slash) where !part.elementsEqual([UInt8(ascii: ".")]) {
      if part.elementsEqual(dots) {
        _ = place.popLast()
      } else {
        guard part.count <= 255 else { return nil }
        place.append(Array(part))
      }
    }
    let common = zip(place, folder).prefix { $0 == $1.bytes }.count
    let parts = Array(repeating: dots, count: folder.count - common) + place[common...]
    let text = parts.isEmpty ? Array(".".utf8) : Array(parts.joined(separator: [slash]))
    return text.count <= maximumLength ? text : nil
  }
}

extension TreePath {
  /// Whether a link's target has `..` after a name: if the name is that of a link, the spelling of the target does
  /// not say where it leads.
  static func isWinding(_ target: [UInt8]) -> Bool {
    let dots = Array("..".utf8)
    let parts = target.split(separator: UInt8(ascii: "/")).filter { !$0.elementsEqual([UInt8(ascii: ".")]) }
    return parts.drop { $0.elementsEqual(dots) }.contains { $0.elementsEqual(dots) }
  }
}

/// A path that was rejected.
package struct PathProblem: Error, Sendable, CustomStringConvertible {
  package let path: [UInt8]
  package let reason: String

  package var description: String {
    "'\(String(decoding: path.prefix(120), as: UTF8.self).filter { $0 >= " " })' \(reason)"
  }
}
