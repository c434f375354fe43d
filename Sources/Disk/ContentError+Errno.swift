package import Content
package import SystemPackage

extension ContentError {
  /// A failure of the local disk.
  ///
  /// - Parameters:
  ///   - code: the kind.
  ///   - subject: the path.
  ///   - error: what the system said.
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
