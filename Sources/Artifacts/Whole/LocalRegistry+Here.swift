package import Stores
package import Content
import LocalRegistry
package import OCI

extension LocalRegistry {
  /// An artifact that has to be on this machine.
  ///
  /// - Parameter reference: of the artifact.
  /// - Throws: `ContentError` with `notFound` where it is not.
  package func here(_ reference: Reference) async throws(ContentError) -> LocalArtifact {
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
