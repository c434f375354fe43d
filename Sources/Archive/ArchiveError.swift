/// What libarchive, or the source it reads from, says of a damaged archive.
package struct ArchiveError: Error, Sendable, CustomStringConvertible {
  package let reason: String

  /// Makes an error.
  ///
  /// - Parameter reason: one line.
  package init(reason: String) { self.reason = reason }

  package var description: String { reason }
}
