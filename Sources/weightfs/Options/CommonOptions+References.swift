import Fetching
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

extension CommonOptions {
  /// Loads an artifact of which nothing is used before it is verified.
  ///
  /// - Parameter text: The argument of the command.
  func loadStrictly(_ text: String) async throws -> (artifact: LoadedArtifact, assembly: Assembly) {
    let source = try ArtifactSource(parsing: text)
    var settings = settings
    settings.fetching.verify = .strict
    let assembly = try assemble(settings)
    return (try await assembly.load(source), assembly)
  }
}

extension ArtifactSource {
  /// The forms of an argument, for the help of commands.
  static var forms: String {
    "A reference, or a layout: oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:DIR, ./PATH"
  }
}
