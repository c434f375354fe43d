/// The rules for paths that come from outside.
///
/// Pure.
package enum TreePath {
  /// The longest path, bytes (PATH_MAX, limits.h).
  package static let maximumLength = 4096
  /// The deepest path, components.
  package static let maximumDepth = 128

  /// Reads a path that an annotation gives: relative, without empty components, `.` and `..`.
  ///
  /// - Parameter path: as it came.
  /// - Returns: all of them, in order.
  /// - Throws: `PathProblem`.
  package static func parse(annotation path: String) throws(PathProblem) -> [EntryName] {
    let bytes = Array(path.utf8)
    guard bytes.first != UInt8(ascii: "/") else { throw PathProblem(path: bytes, reason: "is absolute") }
    return try components(
      bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false),
      of: bytes
    )
  }

  /// Reads the name of a tar member: `./` before it and slashes behind it are usual there and mean nothing.
  ///
  /// - Parameter name: raw bytes.
  /// - Returns: nothing for the root itself.
  /// - Throws: `PathProblem`.
  package static func parse(member name: [UInt8]) throws(PathProblem) -> [EntryName] {
    guard name.first != UInt8(ascii: "/") else { throw PathProblem(path: name, reason: "is absolute") }
    let parts = name.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: true)
    return try components(parts.filter { !$0.elementsEqual([UInt8(ascii: ".")]) }, of: name)
  }

  private static func components(
    _ parts: [ArraySlice<UInt8>],
    of path: [UInt8]
  ) throws(PathProblem) -> [EntryName] {
    guard path.count <= maximumLength else {
      throw PathProblem(path: path, reason: "has \(path.count) bytes")
    }
    guard parts.count <= maximumDepth else { throw PathProblem(path: path, reason: "is \(parts.count) deep") }
    var names: [EntryName] = []
    for part in parts {
      guard let name = EntryName(part) else {
        let reason =
          part.isEmpty
          ? "has an empty component"
          : part.count > 255
            ? "has a component of \(part.count) bytes"
            : part.contains(0) ? "has a NUL in it" : "has '\(String(decoding: part, as: UTF8.self))' in it"
        throw PathProblem(path: path, reason: reason)
      }
      names.append(name)
    }
    return names
  }

  /// The target of a symbolic link, written so that the kernel cannot leave the artifact by it: `..`
  /// only at its start, and no more of them than there are folders above the link.
  ///
  /// An absolute target is meant from the root of the artifact.
  ///
  /// - Parameters:
  ///   - target: raw bytes.
  ///   - folder: the path of the folder that the link is in.
  /// - Returns: nil where it leads out.
  package static func linkTarget(_ target: [UInt8], in folder: [EntryName]) -> [UInt8]? {
    guard !target.isEmpty, target.count <= maximumLength, !target.contains(0) else { return nil }
    let slash = UInt8(ascii: "/")
    let dots = Array("..".utf8)
    var place: [[UInt8]] = target.first == slash ? [] : folder.map(\.bytes)
    for part in target.split(separator: slash) where !part.elementsEqual([UInt8(ascii: ".")]) {
      if part.elementsEqual(dots) {
        guard !place.isEmpty else { return nil }
        place.removeLast()
      } else {
        guard part.count <= 255 else { return nil }
        place.append(Array(part))
      }
    }
    let common = zip(place, folder).prefix { $0 == $1.bytes }.count
    let parts = Array(repeating: dots, count: folder.count - common) + place[common...]
    return parts.isEmpty ? Array(".".utf8) : Array(parts.joined(separator: [slash]))
  }
}

/// A path that is not taken.
package struct PathProblem: Error, Sendable, CustomStringConvertible {
  package let path: [UInt8]
  package let reason: String

  package var description: String {
    "'\(String(decoding: path.prefix(120), as: UTF8.self).filter { $0 >= " " })' \(reason)"
  }
}
