import Content
import Foundation
import OCI
import TestSupport
import Testing

/// A local registry on an old kernel, and one that is removed under a daemon that uses it.
@Suite(.serialized) struct LocalRootTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private let model = ModelFile.gguf(3_000_000, seed: 91)

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": model], repository: "acme/m", tag: "t")
  }

  private func hex(_ bytes: [UInt8]) -> String { Verification.digest(of: bytes).hex }

  private func sum(_ mount: MountProcess, _ repository: String = "acme/m") async throws -> Command.Result {
    try await Command.shell("sha256sum <'\(mount.path("\(registry.host)/\(repository):t/model.gguf"))'")
  }

  /// Runs a program under a filter that answers openat2(2), number 437 on every architecture, with an errno.
  private static let filter = """
    import ctypes, os, struct, sys
    lines = [(0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, 0x00050000 | int(sys.argv[1])), (0x06, 0, 0, 0x7fff0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
    program = Program(len(lines), ctypes.addressof(code))
    system = ctypes.CDLL(None, use_errno=True)
    # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    if system.prctl(22, 2, ctypes.byref(program), 0, 0) != 0: raise OSError(ctypes.get_errno(), "prctl")
    if system.syscall(437, -100, b"/", 0, 0) != -1 or ctypes.get_errno() != int(sys.argv[1]): raise SystemExit("no filter")
    os.execvp(sys.argv[2], sys.argv[2:])
    """

  @Test(arguments: [ENOSYS, EPERM])
  func aKernelWithoutOpenat2IsNoHindranceAndLinksAreRefused(_ answer: Int32) async throws {
    try folder.write(Array(Self.filter.utf8), to: "filter.py")
    let filter = ["python3", folder.path("filter.py"), "\(answer)"]
    let mount = try await MountProcess(folder, prefix: filter)
    #expect(try await sum(mount).output.hasPrefix(hex(model)), "\(mount.messages)")
    #expect(await eventually { folder.has("root/.weightfs/blobs/sha256/\(hex(model))") })
    #expect(await mount.unmount())
    let list = filter + [MountProcess.program, "ls", "--offline", "--registry-root", folder.path("root")]
    let listed = try await Command.run(list)
    #expect(listed.status == 0 && listed.output.contains("100%"), "\(listed.output)\(listed.error)")
    for name in ["state/space", "state"] {
      let place = folder.path("root/.weightfs/\(name)")
      try FileManager.default.moveItem(atPath: place, toPath: folder.path("elsewhere"))
      try FileManager.default.createSymbolicLink(
        atPath: place,
        withDestinationPath: folder.path("elsewhere")
      )
      let refused = try await Command.run(list)
      #expect(refused.status == 1, "\(name): \(refused.output)")
      #expect(
        refused.error.contains("\(place): ") && refused.error.contains("bind-mount"),
        "\(refused.error)"
      )
      try FileManager.default.removeItem(atPath: place)
      try FileManager.default.moveItem(atPath: folder.path("elsewhere"), toPath: place)
    }
  }

  @Test func aRootThatIsRemovedAndMadeAgainUnderALiveMountIsUsedAgain() async throws {
    let other = ModelFile.gguf(2_000_000, seed: 92)
    try registry.add(files: ["model.gguf": other], repository: "acme/n", tag: "t")
    let mount = try await MountProcess(folder, ["--timeout", "20", "--retry-for", "10"])
    #expect(try await sum(mount).output.hasPrefix(hex(model)), "\(mount.messages)")
    #expect(await eventually { folder.has("root/.weightfs/blobs/sha256/\(hex(model))") })
    let open = try #require(
      FileHandle(forReadingAtPath: mount.path("\(registry.host)/acme/m:t/model.gguf"))
    )
    // The daemon may be writing what follows a commit.
    let isRemoved = await eventually {
      try? FileManager.default.removeItem(atPath: folder.path("root"))
      return !folder.has("root")
    }
    try #require(isRemoved)
    let held = try #require(try open.readToEnd())
    #expect(Array(held) == model, "a file that is open has its bytes")
    // A new open has nowhere to put its bytes; whatever it gets is not remembered.
    _ = try await sum(mount)
    try FileManager.default.createDirectory(atPath: folder.path("root"), withIntermediateDirectories: true)
    for (repository, bytes) in [("acme/n", other), ("acme/m", model)] {
      let read = try await sum(mount, repository)
      #expect(read.output.hasPrefix(hex(bytes)), "\(repository): \(read.error)\(mount.messages)")
      let blob = "root/.weightfs/blobs/sha256/\(hex(bytes))"
      #expect(await eventually { folder.has(blob) }, "\(repository): \(folder.files())")
    }
    let verified = try await WeightfsCommand.run("verify --all --offline", in: folder)
    #expect(
      verified.status == 0 && verified.output.contains("acme/n:t"),
      "\(verified.output)\(verified.error)"
    )
    #expect(kill(mount.process, 0) == 0, "the daemon is the one that was started")
    try open.close()
  }
}
