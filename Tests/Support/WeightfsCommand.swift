/// Runs weightfs from a shell script, in the directory of a test.
package enum WeightfsCommand {
  /// Runs a command; the arguments may contain pipes and redirections.
  package static func run(
    _ words: String,
    in folder: TemporaryFolder,
    root: String = "root",
    seconds: Int = 60,
    environment: [String: String] = [:]
  ) async throws -> Command.Result {
    // The credentials of the user who runs the tests must not be used.
    try await Command.shell(
      "cd '\(folder.path)' && \(line(words, in: folder, root: root))",
      seconds: seconds,
      environment: ["HOME": folder.path, "XDG_RUNTIME_DIR": folder.path].merging(environment) { $1 }
    )
  }

  /// Returns the command line.
  package static func line(_ words: String, in folder: TemporaryFolder, root: String = "root") -> String {
    let parts = words.split(separator: " ", maxSplits: 1)
    let rest = parts.count > 1 ? String(parts[1]) : ""
    return "'\(MountProcess.program)' \(parts[0]) --registry-root '\(folder.path(root))' \(rest)"
  }
}
