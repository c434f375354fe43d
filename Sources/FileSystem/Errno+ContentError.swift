package import Content
package import SystemPackage

extension Errno {
  /// Returns the errno of a failure; the only mapping from failures to errno (docs/errors.md).
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
