import Artifacts
import ArgumentParser
import ArtifactTree
import Content
import FileSystem
import Glibc
import MountDaemon

/// Selects files of an artifact.
struct FileSelection: ParsableArguments {
  @Argument(help: "\(ArtifactSource.forms).")
  var source: String

  @Option(help: "Only files whose path matches this shell pattern; may be given several times.")
  var include: [String] = []

  /// A file, and its location in its blob.
  struct File: Sendable {
    let path: String
    let content: FileContent
    /// The byte range of the file in its blob.
    let range: Range<Int64>
  }

  static func matches(_ name: String, _ patterns: [String]) -> Bool {
    patterns.isEmpty || patterns.contains { fnmatch($0, name, 0) == 0 }
  }

  /// Loads the artifact and selects its files.
  ///
  /// - Throws: `ContentError`; of code `notFound` if no file matches.
  func find(_ assembly: Assembly) async throws -> (artifact: LoadedArtifact, files: [File]) {
    let artifact = try await assembly.load(try ArtifactSource(parsing: source))
    var files: [File] = []
    var hasEmpty = false
    for (node, content) in artifact.tree.files {
      let path = artifact.tree.path(of: node)
      guard Self.matches(path, include) else { continue }
      guard content.size > 0 else {
        hasEmpty = true
        continue
      }
      files.append(File(path: path, content: content, range: content.range))
    }
    guard !files.isEmpty else {
      let wanted =
        hasEmpty
        ? "the matching files are empty"
        : include.isEmpty ? "the artifact has no files" : "no file matches \(include.joined(separator: ", "))"
      throw ContentError(.notFound, artifact.label, wanted)
    }
    return (artifact, files)
  }
}
