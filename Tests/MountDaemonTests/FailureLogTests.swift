import Content
import FileSystem
import Logging
@testable import MountDaemon
import SystemPackage
import Telemetry
import TestSupport
import Testing

struct FailureLogTests {
  private let messages = CollectedMessages()
  private let metrics = Metrics()

  private func note(_ error: FileSystemError, path: String) {
    let messages = messages
    let log = Logger(label: "test") { _ in CollectingLog(messages: messages) }
    FailureLog.note(error, operation: "read", path: path, metrics: metrics, log: log)
  }

  @Test func aFailureIsLoggedOnceWithItsPathErrnoAndReason() throws {
    let error = FileSystemError(ContentError(.unreachable, "sha256:ab", host: "r.example", "status 500"))
    for _ in 0..<2000 { note(error, path: "/r.example/once") }
    let line = try #require(messages.all.first)
    #expect(messages.all.count == 1)
    #expect(line.contains("errno=Input/output error") && line.contains("path=/r.example/once"), "\(line)")
    #expect(line.contains("operation=read") && line.contains("status 500"), "\(line)")
    #expect(metrics.failedOperations.value == 2000, "each is counted")
  }

  @Test(arguments: [ContentError.Code.notFound, .cancelled, .stale])
  func namesThatAreAbsentAndKilledReadersAreNotLogged(_ code: ContentError.Code) {
    note(FileSystemError(ContentError(code, "x", "y")), path: "/absent \(code)")
    note(FileSystemError(.noSuchFileOrDirectory), path: "/absent \(code)")
    #expect(messages.all.isEmpty)
  }

  @Test func filesAndCausesAreToldApart() {
    let error = ContentError(.corrupt, "x", "y")
    note(FileSystemError(error), path: "/a told apart")
    note(FileSystemError(error), path: "/b told apart")
    note(FileSystemError(ContentError(.timedOut, "x", "y")), path: "/a told apart")
    #expect(messages.all.count == 3)
  }
}
