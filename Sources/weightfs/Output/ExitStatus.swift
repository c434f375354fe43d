import ArgumentParser
import Content
import Glibc
import OCI

/// How a command ends (docs/errors.md).
///
/// Wrong usage is ArgumentParser's 64.
enum ExitStatus {
  /// Bytes that are not what their digest says.
  static let corrupt: Int32 = 6

  static func code(_ error: ContentError) -> Int32 {
    switch error.code {
    case .notFound: 3
    case .unauthorized: 4
    case .unreachable, .timedOut, .offline: 5
    case .corrupt, .invalid: 6
    case .cancelled, .stale, .outOfMemory, .disk, .unsupported: 1
    }
  }

  /// Runs a command's work; a failure is one line on standard error and a status of its own.
  static func run(_ body: () async throws -> Void) async throws {
    do {
      try await body()
    } catch let error as ContentError {
      Terminal.printError("weightfs: \(error)")
      throw ExitCode(code(error))
    } catch let error as DocumentError {
      throw ValidationError(ForeignText.visible(error.reason))
    }
  }
}
