package import Content
package import SystemPackage

extension Errno {
  /// The errno of a failure: the one place that says so (design 8, docs/errors.md).
  ///
  /// - Parameter code: of the failure.
  package init(_ code: ContentError.Code) {
    switch code {
    case .notFound: self = .noSuchFileOrDirectory
    case .unauthorized: self = .permissionDenied
    case .unreachable, .corrupt, .invalid, .disk, .unsupported: self = .ioError
    case .timedOut: self = .timedOut
    case .offline: self = .networkUnreachable
    case .cancelled: self = .interrupted
    case .stale: self = .staleNFSFileHandle
    case .outOfMemory: self = .noMemory
    }
  }
}
