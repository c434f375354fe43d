import Stores
import Content
import LocalRegistry
import OCI

extension LocalRegistry {
  /// An artifact that a command needs on this machine.
  func here(_ reference: Reference) async throws(ContentError) -> LocalArtifact {
    guard let found = try await artifact(reference) else {
      throw ContentError(
        .notFound,
        "\(reference)",
        "is not in the local registry",
        advice: "'weightfs ls' lists what is; 'weightfs pull \(reference)' fetches it"
      )
    }
    return found
  }
}
