/// A failure reported by libarchive, or by the source it reads from.
package struct ArchiveError: Error, Sendable, CustomStringConvertible {
  package let reason: String

  /// Creates an error.
  ///
  /// - Parameter reason: One line.
  package init(reason: String) { self.reason = reason }

  package var description: String { reason }
}
