package import Content
package import SystemPackage

extension ContentError {
  /// The errno of the system call that failed, where the error has one.
  package var errnoOfDisk: Errno { underlying as? Errno ?? (isDiskFull ? .noSpace : .ioError) }

  /// Creates an error for a failure of the local disk.
  ///
  /// - Parameters:
  ///   - code: The kind of failure.
  ///   - subject: The path.
  ///   - error: The error of the system call.
  package init(_ code: Code, _ subject: String, _ error: Errno) {
    let advice: String? =
      switch error {
      case .noSpace:
        "The disk is full: free some space, or put the local registry elsewhere (--registry-root)"
      case .tooManySymbolicLinkLevels:
        "Symbolic links inside the local registry are not followed: bind-mount the directory in place of the link"
      case .permissionDenied: "Check the owner and mode of the path, or choose another with --registry-root"
      default: nil
      }
    self.init(code, subject, "\(error)", advice: advice, isDiskFull: error == .noSpace, underlying: error)
  }
}
