import Telemetry
import Content
import FileSystem
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Pages of files that the daemon served are removed from the kernel's cache once the kernel reads the file
/// by passthrough.
struct ServedPagesTests {
  private let fixture: FileSystemFixture
  private let bytes = SeededGenerator.bytes(300_000, seed: 4)

  init() throws { fixture = try FileSystemFixture() }

  /// Accepts every file.
  private struct AnyRegistrar: BackingRegistrar {
    func register(_ descriptor: FileDescriptor) throws(Errno) -> Int32 { 1 }
    func remove(_ number: Int32) {}
  }

  private func readAll(_ fileSystem: FileSystem, _ handle: UInt64) async throws -> [UInt8] {
    let result: Result<[UInt8], ContentError> = await withCheckedContinuation { continuation in
      let reply = ReadReply(responder: AnswerResponder(continuation), token: 0)
      fileSystem.read(handle, offset: 0, count: bytes.count, caller: 0, reply: reply)
    }
    return try result.get()
  }

  @Test func theyGoWithTheLastCloseOfACompleteFile() async throws {
    try fixture.remote.add("example.com/a/m:t", files: ["x.bin": bytes])
    let fileSystem = try fixture.make()
    fileSystem.usePassthrough(AnyRegistrar())
    let dropped = Mutex<[UInt64]>([])
    fileSystem.onInvalidation { nodes in dropped.withLock { $0 += nodes } }
    let node = try await fixture.walk(fileSystem, "example.com/a/m/t/x.bin").get().node
    let first = try await fileSystem.open(node).value.get()
    let second = try await fileSystem.open(node).value.get()
    #expect(try await readAll(fileSystem, first.handle) == bytes)
    #expect(await eventually { fixture.metrics.committedBlobs.value == 1 })
    fileSystem.close(first.handle)
    #expect(dropped.withLock { $0 } == [], "a process may have mapped them")
    fileSystem.close(second.handle)
    #expect(await eventually { dropped.withLock { $0 } == [node] })
    let again = try await fileSystem.open(node).value.get()
    fileSystem.close(again.handle)
    #expect(dropped.withLock { $0 } == [node], "pages of files read by passthrough stay")
  }

  @Test func theyStayWhereTheKernelOffersNoPassthrough() async throws {
    try fixture.remote.add("example.com/a/m:t", files: ["x.bin": bytes])
    let fileSystem = try fixture.make()
    let dropped = Mutex<[UInt64]>([])
    fileSystem.onInvalidation { nodes in dropped.withLock { $0 += nodes } }
    let node = try await fixture.walk(fileSystem, "example.com/a/m/t/x.bin").get().node
    let handle = try await fileSystem.open(node).value.get().handle
    #expect(try await readAll(fileSystem, handle) == bytes)
    #expect(await eventually { fixture.metrics.committedBlobs.value == 1 })
    fileSystem.close(handle)
    #expect(dropped.withLock { $0 } == [])
  }
}
