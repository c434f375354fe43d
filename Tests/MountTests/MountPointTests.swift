import Foundation
import TestSupport
import Testing

/// What the commands read of the kernel's table of mounts (proc_pid_mountinfo(5)).
@Suite(.serialized) struct MountPointTests {
  private let folder: TemporaryFolder
  // The table writes space, tab and backslash as octal numbers.
  private let name = "a b\\c#ü\td"

  init() throws { folder = try TemporaryFolder() }

  private func unmount(_ path: String, _ options: String = "") async throws -> Command.Result {
    try await Command.shell("cd '\(folder.path)' && '\(MountProcess.program)' unmount \(options) '\(path)'")
  }

  private func path() async throws -> Command.Result {
    try await WeightfsCommand.run("path --offline example.com/acme/m:t", in: folder, root: "my root")
  }

  @Test func aPathThatTheTableEscapesIsFound() async throws {
    let mount = try await MountProcess(folder, name: name, root: "root of\tmine, it \\ is\\", ["--offline"])
    let point = mount.mountPoint
    let table = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
    #expect(table.contains("/a\\040b\\134c#ü\\011d "), "the kernel escapes it")
    let twice = try await WeightfsCommand.run("mount --offline '\(point)'", in: folder)
    #expect(twice.status == 1 && twice.error.contains("already mounted there"), "\(twice.error)")
    #expect(try await unmount(point).status == 0)
    #expect(await eventually { kill(mount.process, 0) != 0 }, "the daemon ends")
    let absent = try await unmount(point)
    #expect(absent.status == 3 && absent.error.contains("nothing is mounted there"), "\(absent.error)")
  }

  @Test func theTreeOfARootIsFoundByItsSource() async throws {
    try LayoutMaker.write(
      folder,
      "my root/example.com/acme/m/__t",
      layers: [LayoutMaker.file("model.gguf", ModelFile.gguf(100_000, seed: 3))]
    )
    let mount = try await MountProcess(folder, name: name, root: "my root", ["--offline"])
    let other = try await MountProcess(folder, name: "other", root: "elsewhere", ["--offline"])
    let found = try await path()
    #expect(found.output == "\(mount.mountPoint)/example.com/acme/m:t/model.gguf\n", "\(found.error)")
    #expect(await mount.unmount())
    let gone = try await path()
    #expect(gone.status == 3 && gone.error.contains("/mnt/models"), "\(gone.output)\(gone.error)")
    withExtendedLifetime(other) {}
  }

  @Test func aPathNeedsToBeNeitherAbsoluteNorNormal() async throws {
    let mount = try await MountProcess(folder, name: "point", ["--offline"])
    try FileManager.default.createDirectory(atPath: folder.path("side"), withIntermediateDirectories: true)
    #expect(try await unmount("./side/..//point/").status == 0)
    #expect(await eventually { kill(mount.process, 0) != 0 })
  }

  @Test func aMountOfSomethingElseIsLeftAlone() async throws {
    let point = folder.path("tmp fs")
    let made = try await Command.shell("mkdir '\(point)' && mount -t tmpfs none '\(point)'")
    try #require(made.status == 0, "\(made.error)")
    defer { umount2(point, Int32(MNT_DETACH)) }
    let refused = try await unmount(point)
    #expect(refused.status == 6 && refused.error.contains("is not a mount of weightfs"), "\(refused.error)")
    // The last mount at a path is the one that counts: the tmpfs shows again once weightfs has gone.
    let mount = try await MountProcess(folder, name: "tmp fs", ["--offline"])
    #expect(try await unmount(point).status == 0)
    #expect(await eventually { kill(mount.process, 0) != 0 })
    #expect(try await unmount(point).status == 6)
    // Its end detaches whatever is mounted there.
    withExtendedLifetime(mount) {}
  }

  @Test func aMountThatIsInUseIsNotUnmountedUnlessLazily() async throws {
    let mount = try await MountProcess(folder, ["--offline"])
    let directory = open(mount.mountPoint, O_RDONLY | O_DIRECTORY)
    try #require(directory >= 0)
    let busy = try await unmount(mount.mountPoint)
    #expect(busy.status == 1 && busy.error.contains("--lazy"), "\(busy.error)")
    #expect(try await unmount(mount.mountPoint, "--lazy").status == 0)
    #expect(try await unmount(mount.mountPoint).status == 3)
    close(directory)
    #expect(await eventually { kill(mount.process, 0) != 0 }, "the daemon ends with its last user")
  }
}
