import ArgumentParser
import Content
import Glibc
import OCI

/// Exit statuses (docs/errors.md).
///
/// ArgumentParser exits with 64 for wrong usage.
enum ExitStatus {
  /// Bytes do not match their digest.
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

  /// Runs a command's work; a failure is printed as one line on standard error and determines the exit
  /// status.
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
