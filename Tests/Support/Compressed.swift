import Foundation

/// Bytes compressed by the programs that users compress with.
package enum Compressed {
  /// Returns what a program makes of bytes.
  ///
  /// - Parameters:
  ///   - bytes: The standard input of the program.
  ///   - command: The program and its options, such as `gzip -9`.
  package static func bytes(_ bytes: [UInt8], by command: String) async throws -> [UInt8] {
    let folder = try TemporaryFolder()
    try Data(bytes).write(to: URL(filePath: folder.path("in")))
    let result = try await Command.shell("\(command) <'\(folder.path("in"))' >'\(folder.path("out"))'")
    guard result.status == 0 else { throw Failure(reason: "\(command): \(result.error)") }
    return try folder.read("out")
  }

  private struct Failure: Error {
    let reason: String
  }
}
