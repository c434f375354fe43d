/// weightfs as a line of a shell's script, in a folder of a test's own.
package enum WeightfsCommand {
  /// Runs a command; what follows its name may hold pipes and redirections.
  package static func run(
    _ words: String,
    in folder: TemporaryFolder,
    root: String = "root",
    seconds: Int = 60
  ) async throws -> Command.Result {
    // Credentials of whoever runs the tests are none of their business.
    try await Command.shell(
      "cd '\(folder.path)' && \(line(words, in: folder, root: root))",
      seconds: seconds,
      environment: ["HOME": folder.path, "XDG_RUNTIME_DIR": folder.path]
    )
  }

  /// The line that runs it.
  package static func line(_ words: String, in folder: TemporaryFolder, root: String = "root") -> String {
    let parts = words.split(separator: " ", maxSplits: 1)
    let rest = parts.count > 1 ? String(parts[1]) : ""
    return "'\(MountProcess.program)' \(parts[0]) --registry-root '\(folder.path(root))' \(rest)"
  }
}
