/// The name of an entry in a folder: bytes, as the kernel sees them.
package struct EntryName: Sendable, Hashable, Comparable {
  package let bytes: [UInt8]
  /// Bytes of the longest name (NAME_MAX of limits.h).
  package static let maximumLength = 255

  /// Takes bytes as a name if they are one: not empty, at most 255, neither `.` nor `..`, without slash and NUL.
  ///
  /// - Parameter bytes: of one component.
  package init?(_ bytes: some Collection<UInt8>) {
    guard !bytes.isEmpty, bytes.count <= Self.maximumLength, !bytes.contains(0),
      !bytes.contains(UInt8(ascii: "/"))
    else {
      return nil
    }
    let dot = UInt8(ascii: ".")
    guard !bytes.elementsEqual([dot]), !bytes.elementsEqual([dot, dot]) else { return nil }
    self.bytes = Array(bytes)
  }

  package static func < (left: EntryName, right: EntryName) -> Bool {
    left.bytes.lexicographicallyPrecedes(right.bytes)
  }
}

extension EntryName: CustomStringConvertible {
  package var description: String { String(decoding: bytes, as: UTF8.self) }
}
