import Artifacts
import Content
import LocalRegistry

/// What answers names for one kind of users: those for whom requests may be sent, or those for whom none may.
struct NameService: Sendable {
  let resolver: ReferenceResolver
  let classifier: PathClassifier
  /// Whether a registry may be asked.
  let mayAsk: Bool

  /// Refuses what a registry would have to be asked for.
  ///
  /// - Parameters:
  ///   - path: of the refused name, from the root of the mount.
  ///   - owner: for whom requests are sent.
  static func refusal(_ path: String, owner: UInt32) -> ContentError {
    ContentError(
      .unauthorized,
      path,
      "it is not on this machine, and requests are sent for user \(owner) alone",
      advice: "That user can fetch it, or the mount can have '--fetch-for all'"
    )
  }
}

extension FileSystem {
  /// What answers names for a user.
  ///
  /// - Parameter user: who asks; nil for weightfs itself.
  func names(for user: UInt32?) -> NameService {
    guard let guests, let user, user != 0, user != options.userIdentifier else {
      return NameService(resolver: resolver, classifier: classifier, mayAsk: true)
    }
    return guests
  }

  /// The same error, or a refusal where it came about because no registry may be asked.
  func explained(_ error: ContentError, _ path: String, _ names: NameService) -> ContentError {
    names.mayAsk || error.code != .offline
      ? error : NameService.refusal(path, owner: options.userIdentifier)
  }
}
