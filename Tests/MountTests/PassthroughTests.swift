import Content
import Foundation
import OCI
import TestSupport
import Testing

/// The kernel reads complete files by passthrough if possible, and otherwise they are served correctly.
@Suite(.serialized) struct PassthroughTests {
  private let folder: TemporaryFolder
  private static let bytes = SeededGenerator.bytes(40 << 20 | 777, seed: 55)

  init() throws {
    folder = try TemporaryFolder()
    try folder.write(Self.bytes, to: "source")
  }

  private func registry() throws -> FaultyRegistry {
    let registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": Self.bytes], repository: "acme/m", tag: "t")
    return registry
  }

  private func file(_ registry: FaultyRegistry) -> String { "\(registry.host)/acme/m/t/model.gguf" }

  private func waitUntilComplete(_ mount: MountProcess, _ path: String) async throws {
    _ = try await Command.shell("cat '\(mount.path(path))' >/dev/null")
    #expect(await (try? eventually { try await mount.attribute("verified", of: path) == "blob" }) == true)
  }

  private func isRight(_ mount: MountProcess, _ path: String) async throws -> Bool {
    try await Command.shell("cmp '\(mount.path(path))' '\(folder.path("source"))'").status == 0
  }

  @Test func whatWasOpenWhilePartialGoesOnAndTheNextOpenIsTheKernels() async throws {
    let registry = try registry()
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let script = """
      import mmap, os, signal, sys, time
      path, source, daemon = sys.argv[1], sys.argv[2], int(sys.argv[3])
      want = open(source, 'rb').read()
      size = len(want)
      def served(): return os.getxattr(path, 'user.weightfs.served')
      early = os.open(path, os.O_RDONLY)
      view = mmap.mmap(early, size, prot=mmap.PROT_READ)
      assert view[:4096] == want[:4096]
      assert served() == b'daemon'
      with open(path, 'rb') as whole: assert whole.read() == want
      while os.getxattr(path, 'user.weightfs.verified') != b'blob': time.sleep(0.01)
      late = os.open(path, os.O_RDONLY)
      assert served() == b'passthrough', served()
      assert os.fstat(late).st_ino == os.fstat(early).st_ino
      second = mmap.mmap(late, size, prot=mmap.PROT_READ)
      # No READ can reach a daemon that is stopped.
      os.kill(daemon, signal.SIGSTOP)
      try:
          position = 0
          while position < size:
              piece = os.pread(late, 1 << 20, position)
              assert piece and piece == want[position:position + len(piece)], position
              position += len(piece)
          assert second[:] == want
      finally:
          os.kill(daemon, signal.SIGCONT)
      assert view[:] == want
      assert os.pread(early, 4096, 30 << 20) == want[30 << 20:(30 << 20) + 4096]
      os.kill(daemon, signal.SIGKILL)
      for _ in range(1000):
          try: os.kill(daemon, 0)
          except ProcessLookupError: break
          time.sleep(0.01)
      assert second[:] == want
      assert os.pread(late, 4096, 5000) == want[5000:9096]
      print('right')
      """
    try folder.write(Array(script.utf8), to: "switch.py")
    let result = try await Command.run([
      "timeout", "-k", "5", "60", "python3", folder.path("switch.py"), mount.path(file(registry)),
      folder.path("source"), "\(mount.process)",
    ])
    #expect(result.output == "right\n", "\(result.error)\(mount.messages)")
    #expect(mount.messages.contains("passthrough"))
  }

  @Test func aTmpfsServesToo() async throws {
    let registry = try registry()
    let store = folder.path("root")
    _ = try await Command.shell("mkdir -p '\(store)' && mount -t tmpfs -o size=200m none '\(store)'")
    let mount = try await MountProcess(folder)
    try await waitUntilComplete(mount, file(registry))
    #expect(try await mount.attribute("served", of: file(registry)) == "passthrough")
    #expect(try await isRight(mount, file(registry)))
    try await mount.crash()
    #expect(try await Command.shell("umount -l '\(store)'").status == 0)
  }

  @Test func onAnOverlayTheDaemonServesTheSameBytesAndSaysSoOnce() async throws {
    let registry = try registry()
    let store = folder.path("root")
    let made = try await Command.shell(
      """
      cd '\(folder.path)' && mkdir -p lower upper work root &&
      mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root
      """
    )
    #expect(made.status == 0, "\(made.error)")
    let mount = try await MountProcess(folder)
    try await waitUntilComplete(mount, file(registry))
    for _ in 0..<3 { #expect(try await isRight(mount, file(registry))) }
    #expect(try await mount.attribute("served", of: file(registry)) == "daemon")
    #expect(mount.messages.components(separatedBy: "served by the daemon").count == 2, "\(mount.messages)")
    #expect(mount.messages.contains("stacked file system"))
    try await mount.crash()
    #expect(try await Command.shell("umount -l '\(store)'").status == 0)
  }

  @Test func anOrdinaryUserIsServedByTheDaemonThroughFusermount() async throws {
    let registry = try registry()
    _ = try await Command.shell("chmod 755 '\(folder.path)' && chown 65534:65534 '\(folder.path)'")
    // Users other than root must be able to run the program.
    let program = folder.path("weightfs")
    try FileManager.default.copyItem(atPath: MountProcess.program, toPath: program)
    let point = folder.path("theirs")
    let script = """
      mkdir '\(point)' && '\(program)' mount --registry-root '\(folder.path("own"))' --log-file '\(folder.path("log"))' \
        '\(point)' && cd / && file='\(point)/\(file(registry))' && cat "$file" >/dev/null || exit
      for i in $(seq 500); do
        [ "$(getfattr --only-values -n user.weightfs.verified "$file" 2>/dev/null)" = blob ] && break; sleep 0.02
      done
      cmp "$file" '\(folder.path("source"))' && getfattr --only-values -n user.weightfs.served "$file"
      '\(program)' unmount '\(point)'
      """
    try folder.write(Array(script.utf8), to: "user.sh")
    // On some machines only root may use /dev/fuse; a separate node, visible only to these processes, is open
    // to all users.
    let result = try await Command.run(
      [
        "timeout", "-k", "5", "60", "unshare", "--mount", "bash", "-c",
        """
        mknod '\(folder.path("fuse"))' c 10 229 && chmod 666 '\(folder.path("fuse"))' &&
        mount --bind '\(folder.path("fuse"))' /dev/fuse &&
        setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all bash '\(folder.path("user.sh"))'
        """,
      ],
      environment: ["HOME": folder.path, "XDG_RUNTIME_DIR": folder.path]
    )
    #expect(result.output == "daemon", "\(result.error)")
    let log = String(decoding: try folder.read("log"), as: UTF8.self)
    #expect(log.contains("CAP_SYS_ADMIN"), "\(log)")
    #expect(log.components(separatedBy: "served by the daemon").count == 2)
  }

  @Test func aMemberOfATarIsServedFromItsDescriptor() async throws {
    _ = try await Command.shell(
      "cd '\(folder.path)' && mkdir t && cp source t/model.gguf && tar cf t.tar -C t model.gguf"
    )
    let tar = try folder.read("t.tar")
    try LayoutMaker.write(
      folder,
      "layout",
      layers: [LayoutMaker.tar(tar)],
      config: LayoutMaker.imageConfig,
      artifactType: nil
    )
    let mount = try await MountProcess(folder, source: "oci:\(folder.path("layout"))")
    #expect(try await isRight(mount, "model.gguf"))
    #expect(try await mount.attribute("served", of: "model.gguf") == "daemon")
  }

  @Test func whatLiesInATarOrAnArchiveIsCopiedOutOnRequest() async throws {
    _ = try await Command.shell(
      "cd '\(folder.path)' && mkdir t && cp source t/model.gguf && tar cf t.tar -C t model.gguf"
    )
    try LayoutMaker.write(
      folder,
      "layout",
      layers: [LayoutMaker.tar(try folder.read("t.tar"))],
      config: LayoutMaker.imageConfig,
      artifactType: nil
    )
    _ = try await Command.shell(
      "cd '\(folder.path("layout"))' && tar cf ../archive.tar oci-layout index.json blobs"
    )
    for source in ["oci:\(folder.path("layout"))", "oci-archive:\(folder.path("archive.tar"))"] {
      let name = source.hasPrefix("oci:") ? "tar" : "archive"
      let mount = try await MountProcess(
        folder,
        name: name,
        root: "\(name).root",
        source: source,
        ["--materialize", "1G"]
      )
      #expect(try await isRight(mount, "model.gguf"))
      // An open uses passthrough once the file is verified and copied.
      let isPassing = try await eventually {
        guard try await isRight(mount, "model.gguf") else { return false }
        return try await mount.attribute("served", of: "model.gguf") == "passthrough"
      }
      #expect(isPassing, "\(source): \(mount.messages)")
      #expect(try await isRight(mount, "model.gguf"))
      // Another mount uses the copy.
      try await mount.crash()
      let again = try await MountProcess(
        folder,
        name: "\(name)2",
        root: "\(name).root",
        source: source,
        ["--materialize", "1G"]
      )
      #expect(try await isRight(again, "model.gguf"))
      #expect(try await again.attribute("served", of: "model.gguf") == "passthrough")
    }
    let small = try await MountProcess(
      folder,
      name: "small",
      root: "small.root",
      source: "oci:\(folder.path("layout"))",
      ["--materialize", "10M"]
    )
    #expect(try await isRight(small, "model.gguf"))
    let isTold = try await eventually {
      let isRight = try await isRight(small, "model.gguf")
      return isRight && small.messages.contains("exceed the 10485760 bytes of --materialize")
    }
    #expect(isTold)
    #expect(try await small.attribute("served", of: "model.gguf") == "daemon")
  }
}
