import Artifacts
import Content
import LocalRegistry

/// Resolves names for one group of users: those who cause requests, or those who do not.
struct NameService: Sendable {
  let resolver: ReferenceResolver
  let classifier: PathClassifier
  /// Whether requests may be sent.
  let mayAsk: Bool

  /// Returns the error for a name that can be resolved only by a request.
  ///
  /// - Parameters:
  ///   - path: The path of the name from the root of the mount.
  ///   - owner: The user for whom requests are sent.
  static func refusal(_ path: String, owner: UInt32) -> ContentError {
    ContentError(
      .unauthorized,
      path,
      "not in the local registry, and requests are sent only for user \(owner)",
      advice: "Read it as that user, or mount with '--fetch-for all'"
    )
  }
}

extension FileSystem {
  /// Returns the name service for a user.
  ///
  /// - Parameter user: The user who asks; nil for weightfs itself.
  func names(for user: UInt32?) -> NameService {
    guard let guests, let user, user != 0, user != options.userIdentifier else {
      return NameService(resolver: resolver, classifier: classifier, mayAsk: true)
    }
    return guests
  }

  /// Returns a refusal in place of an error that occurred because no request may be sent, else the error.
  func explained(_ error: ContentError, _ path: String, _ names: NameService) -> ContentError {
    names.mayAsk || error.code != .offline
      ? error : NameService.refusal(path, owner: options.userIdentifier)
  }
}
