package import Content
package import SystemPackage

/// A failed operation: what the kernel is told, and why.
package struct FileSystemError: Error, Sendable {
  package let errno: Errno
  /// Nil for what is no failure of content, such as a write.
  package let cause: ContentError?

  /// A failure of content.
  ///
  /// - Parameter cause: what happened.
  package init(_ cause: ContentError) {
    errno = Errno(cause.code)
    self.cause = cause
  }

  /// An answer that needs no story.
  ///
  /// - Parameter errno: what the kernel is told.
  package init(_ errno: Errno) {
    self.errno = errno
    cause = nil
  }

  /// Whether a person should read of it: not of names that are not there, nor of readers that were killed.
  package var isWorthLogging: Bool {
    guard let cause else { return false }
    return cause.code != .notFound && cause.code != .cancelled && cause.code != .stale
  }
}
