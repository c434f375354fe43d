package import Stores
package import Content
import LocalRegistry
package import OCI

extension LocalRegistry {
  /// Returns an artifact that must be on this machine.
  ///
  /// - Throws: `ContentError`; of code `notFound` if the artifact is absent.
  package func here(_ reference: Reference) async throws(ContentError) -> LocalArtifact {
    guard let found = try await artifact(reference) else {
      throw ContentError(
        .notFound,
        "\(reference)",
        "is not in the local registry",
        advice: "'weightfs ls' lists its artifacts; 'weightfs pull \(reference)' fetches this one"
      )
    }
    return found
  }
}
