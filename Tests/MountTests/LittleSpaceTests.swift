import Foundation
import TestSupport
import Testing

/// The log of a mount whose disk has less free space than weightfs leaves by default.
@Suite(.serialized) struct LittleSpaceTests {
  private let folder: TemporaryFolder
  // On a disk of 16 MiB, of which 5 % stay free by default.
  private static let almostAll = (16 << 20) - (440 << 10)

  init() throws { folder = try TemporaryFolder() }

  /// Mounts a root on a disk of 16 MiB, and returns the lines of the log about free space.
  private func lines(filled: Int, _ options: [String] = []) async throws -> [String] {
    let root = folder.path("root")
    let made = try await Command.shell(
      "mkdir '\(root)' && mount -t tmpfs -o size=16m none '\(root)' && head -c \(filled) /dev/zero >'\(root)/fill'"
    )
    defer { umount2(root, Int32(MNT_DETACH)) }
    try #require(made.status == 0, "\(made.error)")
    let mount = try await MountProcess(folder, ["--offline"] + options)
    let found = mount.messages.split(separator: "\n").filter { $0.contains("less disk space is free") }
    let hasEnded = await mount.unmount()
    #expect(hasEnded)
    return found.map(String.init)
  }

  @Test func lessFreeSpaceThanTheDefaultIsToldOnceWithTheRootAndAnAdvice() async throws {
    let found = try await lines(filled: Self.almostAll)
    #expect(found.count == 1, "\(found)")
    let line = try #require(found.first)
    #expect(line.contains(" notice ") && line.contains("served without being cached"), "\(line)")
    #expect(line.contains("root=\(folder.path("root"))") && line.contains("set --min-free"), "\(line)")
  }

  @Test func aDiskWithEnoughFreeSpaceIsNotToldOf() async throws {
    #expect(try await lines(filled: 8 << 20).isEmpty)
  }

  @Test(arguments: ["0", "1M"])
  func aMinimumThatTheUserSetReplacesTheDefault(_ minimum: String) async throws {
    #expect(try await lines(filled: Self.almostAll, ["--min-free", minimum]).isEmpty)
  }
}
