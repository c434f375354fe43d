import Artifacts
import Content
import LocalRegistry
import OCI

extension CommonOptions {
  /// Runs an action for each of several artifacts on this machine; the action prints its result.
  func forEach(
    _ references: [String],
    _ body: (Reference, LocalRegistry) async throws -> Void
  ) async throws {
    try await ExitStatus.run {
      let parsed = try EachReference.parse(references)
      let local = try assemble().local
      try await EachReference.run(parsed) { try await body($0, local) }
    }
  }
}
