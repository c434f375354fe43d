/// The name of an entry in a directory: bytes, as the kernel passes them.
package struct EntryName: Sendable, Hashable, Comparable {
  package let bytes: [UInt8]
  /// The maximum length of a name in bytes (NAME_MAX in limits.h).
  package static let maximumLength = 255

  /// Creates a name, or returns nil unless the bytes are a valid one: 1 to 255 bytes, neither `.` nor `..`,
  /// without slash and NUL.
  ///
  /// - Parameter bytes: One path component.
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
