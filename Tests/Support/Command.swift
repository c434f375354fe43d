import Foundation
import Synchronization

/// Runs other programs, with a time limit.
package enum Command {
  /// The result of a program.
  package struct Result: Sendable {
    package let status: Int32
    package let output: String
    package let error: String
  }

  /// Runs a shell script; a script that exceeds the limit is killed, with status 124 or 137.
  package static func shell(
    _ script: String,
    seconds: Int = 60,
    environment: [String: String] = [:]
  ) async throws -> Result {
    try await run(["timeout", "-k", "5", "\(seconds)", "bash", "-c", script], environment: environment)
  }

  /// Runs a program from PATH.
  package static func run(_ words: [String], environment: [String: String] = [:]) async throws -> Result {
    let folder = try TemporaryFolder()
    let output = try folder.write([], to: "output")
    let errors = try folder.write([], to: "error")
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = words
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle(forWritingAtPath: output)
    process.standardError = FileHandle(forWritingAtPath: errors)
    let status = try await withCheckedThrowingContinuation {
      (continuation: CheckedContinuation<Int32, any Error>) in
      process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
      do {
        try process.run()
      } catch {
        process.terminationHandler = nil
        continuation.resume(throwing: error)
      }
    }
    return Result(
      status: status,
      output: String(decoding: try folder.read("output"), as: UTF8.self),
      error: String(decoding: try folder.read("error"), as: UTF8.self)
    )
  }
}
