import Foundation
import TestSupport
import Testing

/// `open` with every combination of flags on every kind of entry, and reads with the engines of fio, compared
/// with a disk that is mounted read-only.
@Suite(.serialized) struct OpenFlagTests {
  // 3 access modes, 7 flags, 7 kinds of entries: 2,688 calls.
  private static let script = """
    import errno, itertools, json, os, sys
    flags = [os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_DIRECTORY, os.O_NOFOLLOW, os.O_NONBLOCK]
    names = ['file', 'empty', 'folder', 'link', 'folderlink', 'dangling', 'missing']
    root, found = sys.argv[1], {}
    for name in names:
        for access in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            for count in range(len(flags) + 1):
                for some in itertools.combinations(flags, count):
                    word = access | sum(some)
                    try:
                        number = os.open(os.path.join(root, name), word, 0o600)
                    except OSError as error:
                        answer = errno.errorcode[error.errno]
                    else:
                        kind = 'folder' if os.path.isdir('/proc/self/fd/%d' % number) else 'file'
                        answer = '%s %d' % (kind, os.fstat(number).st_size if kind == 'file' else 0)
                        os.close(number)
                    found['%s %o' % (name, word)] = answer
    json.dump(found, sys.stdout)
    """

  private static let make = """
    mkdir -p in/m/folder && cd in/m && printf GGUF12345 >file && : >empty && ln -s file link && ln -s folder folderlink \
    && ln -s nowhere dangling && echo inner >folder/inner && tar -cf ../../layer.tar .
    """

  @Test func everyCombinationIsAnsweredAsByAReadOnlyDisk() async throws {
    let folder = try TemporaryFolder()
    let made = try await Command.shell("cd '\(folder.path)' && \(Self.make)")
    try #require(made.status == 0, "\(made.error)")
    try LayoutMaker.write(
      folder,
      "layout",
      layers: [
        (
          bytes: try folder.read("layer.tar"), type: "application/vnd.oci.image.layer.v1.tar",
          annotations: [:]
        )
      ],
      config: LayoutMaker.imageConfig,
      artifactType: nil
    )
    let mount = try await MountProcess(folder, source: "oci:\(folder.path("layout"))")
    defer { withExtendedLifetime(mount) {} }
    try folder.write(Array(Self.script.utf8), to: "flags.py")
    // A read-only bind mount in a separate mount namespace, which disappears with the process.
    let native = try await Command.run([
      "unshare", "-m", "bash", "-c",
      "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec python3 \"$1\" \"$0\"",
      folder.path("in/m"), folder.path("flags.py"),
    ])
    let ours = try await Command.run(["python3", folder.path("flags.py"), mount.mountPoint])
    let want = try JSONDecoder().decode([String: String].self, from: Data(native.output.utf8))
    let have = try JSONDecoder().decode([String: String].self, from: Data(ours.output.utf8))
    #expect(want.count == 2_688)
    #expect(have.count == want.count)
    for (key, answer) in want where have[key] != answer {
      Issue.record("\(key) (octal flags): a disk answers \(answer), weightfs \(have[key] ?? "-")")
    }
  }

  @Test(arguments: ["psync", "pvsync2", "mmap", "libaio", "io_uring", "posixaio"])
  func fioVerifiesWhatItWrote(_ engine: String) async throws {
    let folder = try TemporaryFolder()
    // Blocks with checksums, written to a file of the disk and read back through the mount.
    let written = try await Command.shell(
      "cd '\(folder.path)' && fio --name=w --filename=data.bin --size=24M --bs=64k --rw=write --verify=crc32c --do_verify=0 --end_fsync=1 >/dev/null"
    )
    try #require(written.status == 0, "\(written.error)")
    try LayoutMaker.write(
      folder,
      "layout",
      layers: [
        (
          bytes: try folder.read("data.bin"), type: "application/octet-stream",
          annotations: ["org.opencontainers.image.title": "data.bin"]
        )
      ]
    )
    let mount = try await MountProcess(folder, source: "oci:\(folder.path("layout"))")
    let read = try await Command.shell(
      "cd '\(folder.path)' && fio --name=w --filename='\(mount.path("data.bin"))' --readonly --size=24M --bs=64k --rw=read --verify=crc32c --verify_only=1 --verify_fatal=1 --ioengine=\(engine) --iodepth=8 --verify_state_load=0"
    )
    #expect(read.status == 0, "\(engine): \(read.output) \(read.error)")
    #expect(read.output.contains("err= 0"), "\(read.output)")
    withExtendedLifetime(mount) {}
  }
}
