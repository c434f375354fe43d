import Foundation

/// A server on loopback that is a Python script: the script prints the port that the kernel chose, on a line of its own.
final class PythonServer: Sendable {
  private let process: Int32
  let port: Int

  /// The end of a script before it printed a port, with what it wrote to standard error.
  struct Failure: Error {
    let text: String
  }

  /// Starts a script, and waits for its port.
  ///
  /// - Parameters:
  ///   - script: The text of the script.
  ///   - arguments: Its arguments.
  ///   - folder: The directory for the script and its output.
  /// - Throws: `Failure` if no port was printed.
  init(_ script: String, _ arguments: [String], in folder: TemporaryFolder) async throws {
    try folder.write(Array(script.utf8), to: "server.py")
    for name in ["port", "errors"] { try folder.write([], to: name) }
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["python3", folder.path("server.py")] + arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle(forWritingAtPath: folder.path("port"))
    process.standardError = FileHandle(forWritingAtPath: folder.path("errors"))
    try process.run()
    self.process = process.processIdentifier
    var port: Int?
    _ = try await eventually(seconds: 30) {
      let text = String(decoding: try folder.read("port"), as: UTF8.self)
      port = text.hasSuffix("\n") ? Int(text.dropLast()) : nil
      return port != nil
    }
    guard let port else {
      kill(process.processIdentifier, SIGKILL)
      throw Failure(text: String(decoding: try folder.read("errors"), as: UTF8.self))
    }
    self.port = port
  }

  deinit { kill(process, SIGKILL) }
}
