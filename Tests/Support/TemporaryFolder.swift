import Foundation

/// A temporary directory that is removed when this object is freed.
package final class TemporaryFolder: Sendable {
  package let path: String

  /// Creates a directory.
  package init() throws {
    path = NSTemporaryDirectory() + "weightfs-test-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Returns a path in the directory.
  package func path(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a file, creating missing directories.
  @discardableResult
  package func write(_ bytes: [UInt8], to name: String) throws -> String {
    let file = path(name)
    let folder = (file as NSString).deletingLastPathComponent
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Data(bytes).write(to: URL(filePath: file))
    return file
  }

  /// Reads a file.
  package func read(_ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(filePath: path(name))))
  }

  /// Whether a file exists.
  package func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }

  /// Returns every file below the directory, relative to it.
  package func files() -> [String] {
    (FileManager.default.enumerator(atPath: path)?.allObjects as? [String] ?? []).sorted()
  }
}
