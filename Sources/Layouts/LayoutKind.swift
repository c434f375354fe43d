package import Content
import Disk
package import SystemPackage

/// The forms of layouts that commands take, with the names that skopeo gives them.
package enum LayoutKind: String, Sendable, CaseIterable {
  case directory = "oci"
  case archive = "oci-archive"
  case dockerArchive = "docker-archive"
  case skopeoDirectory = "dir"
  /// A path without a name before it: found out by looking.
  case detected = ""

  /// Opens a layout.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - path: A directory or an uncompressed file.
  ///   - executor: Runs blocking disk operations.
  /// - Throws: `ContentError` that names the problem.
  package func open(
    _ path: FilePath,
    executor: BlockingExecutor
  ) throws(ContentError) -> any LocalRepository {
    switch self {
    case .directory:
      guard OCIDirectory.exists(at: path) else {
        throw ContentError(.notFound, "\(path)", "is not an oci-dir: it has no oci-layout and index.json")
      }
      return OCIDirectory(path: path, executor: executor)
    case .archive: return try OCIArchive(path: path, executor: executor)
    case .dockerArchive:
      let archive = try OCIArchive(path: path, executor: executor, needsIndex: false)
      return try DockerArchive(archive, executor: executor)
    case .skopeoDirectory:
      guard SkopeoDirectory.exists(at: path) else {
        throw ContentError(
          .notFound,
          "\(path)",
          "is not a directory of 'skopeo copy … dir:': it has no manifest.json and version"
        )
      }
      return SkopeoDirectory(path: path, executor: executor)
    case .detected: return try Self.detect(path, executor)
    }
  }

  private static func detect(
    _ path: FilePath,
    _ executor: BlockingExecutor
  ) throws(ContentError) -> any LocalRepository {
    guard Disk.exists(path) else {
      throw ContentError(.notFound, "\(path)", "the file or directory does not exist")
    }
    guard Disk.isFolder(path) else {
      let archive = try OCIArchive(path: path, executor: executor, needsIndex: false)
      // Docker writes both lists; they name the same images.
      return archive.member("index.json") != nil ? archive : try DockerArchive(archive, executor: executor)
    }
    if Disk.exists(path.appending("index.json")) { return OCIDirectory(path: path, executor: executor) }
    if SkopeoDirectory.exists(at: path) { return SkopeoDirectory(path: path, executor: executor) }
    throw ContentError(
      .invalid,
      "\(path)",
      "is neither an oci-dir (it has no index.json) nor a directory of 'skopeo copy … dir:'"
    )
  }
}
