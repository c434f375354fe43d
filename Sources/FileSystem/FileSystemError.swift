package import Content
package import SystemPackage

/// A failed operation: the errno for the kernel, and the cause.
package struct FileSystemError: Error, Sendable {
  package let errno: Errno
  /// The cause; nil if the failure does not concern content, such as a write.
  package let cause: ContentError?

  /// Creates an error with a cause, whose code determines the errno.
  package init(_ cause: ContentError) {
    errno = Errno(cause.code)
    self.cause = cause
  }

  /// Creates an error without a cause.
  package init(_ errno: Errno) {
    self.errno = errno
    cause = nil
  }

  /// Whether the failure is logged; absent names and killed readers are not.
  package var isWorthLogging: Bool {
    guard let cause else { return false }
    return cause.code != .notFound && cause.code != .cancelled && cause.code != .stale
  }
}
