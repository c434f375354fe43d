import Foundation
import TestSupport
import Testing

/// mount(8) itself, which finds its helpers in /sbin alone.
///
/// The helper is put there in a mount namespace of the test's own, whose processes and mounts end with it: the /sbin of
/// the machine stays as it is, however the test ends.
@Suite(.serialized) struct SystemMountTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    for name in ["prefix/bin", "prefix/sbin", "sbin", "mnt", "one"] {
      try FileManager.default.createDirectory(atPath: folder.path(name), withIntermediateDirectories: true)
    }
    // As `make install` lays them out.
    try FileManager.default.copyItem(
      atPath: root.appending(path: "mount-helpers/mount.weightfs").path,
      toPath: folder.path("prefix/sbin/mount.weightfs")
    )
    try FileManager.default.createSymbolicLink(
      atPath: folder.path("prefix/bin/weightfs"),
      withDestinationPath: MountProcess.program
    )
  }

  /// Runs a script in the namespace; `run NAME COMMAND…` prints the name and the status.
  private func inNamespace(_ script: String) async throws -> Command.Result {
    let preparation = """
      cd '\(folder.path)' || exit 90
      place=$(readlink -f /sbin)
      mount --bind "$place" sbin && mount -t tmpfs none "$place" && ln -s "$PWD"/sbin/* "$place" || exit 91
      for name in mount.weightfs mount.fuse.weightfs; do
        ln -sf "$PWD/prefix/sbin/mount.weightfs" "$place/$name" || exit 92
      done
      options="registry_root=$PWD/root,log_file=$PWD/log,offline"
      run() { name=$1; shift; "$@"; echo "$name $?"; }
      kind() { findmnt -n -o FSTYPE,OPTIONS "$1"; }
      """
    try folder.write(Array("\(preparation)\n\(script)\n".utf8), to: "script.sh")
    return try await Command.shell(
      "unshare -m -p --fork --kill-child --mount-proc bash '\(folder.path("script.sh"))'",
      environment: ["HOME": folder.path, "XDG_RUNTIME_DIR": folder.path]
    )
  }

  private func lines(_ result: Command.Result) -> [String] {
    result.output.split(separator: "\n").map(String.init)
  }

  @Test func aMountByItsTypeIsMadeOnceAndUnmounted() async throws {
    let result = try await inNamespace(
      """
      run first mount -t weightfs models mnt -o "$options,noexec,umask=027"
      kind mnt
      run again mount -t weightfs models mnt -o "$options,noexec,umask=027"
      run fuse mount -t fuse.weightfs models mnt -o "$options,noexec,umask=027"
      findmnt -n -o TARGET mnt | wc -l
      run umount umount mnt
      run absent findmnt mnt
      mkdir models
      run path mount -t weightfs models mnt -o "$options"
      kind mnt | sed 's/^/path /' | cut -c1-18
      umount mnt
      """
    )
    let found = lines(result)
    #expect(
      found.filter { !$0.hasPrefix("fuse.weightfs ") } == [
        "first 0", "again 0", "fuse 0", "1", "umount 0", "absent 1", "path 0", "path fuse.weightfs",
      ],
      "\(result.output)\(result.error)"
    )
    let shown = try #require(found.first { $0.hasPrefix("fuse.weightfs ") })
    let options = Set(shown.split { $0 == " " || $0 == "," }.map(String.init))
    #expect(options.isSuperset(of: ["ro", "nosuid", "nodev", "noexec"]), "\(shown)")
  }

  @Test func aFileSystemTableIsMountedTwiceInARow() async throws {
    try LayoutMaker.write(
      folder,
      "layout",
      layers: [LayoutMaker.file("model.gguf", ModelFile.gguf(100_000, seed: 8))],
      reference: "t"
    )
    let result = try await inNamespace(
      """
      echo "models $PWD/mnt weightfs $options,allow_other,_netdev 0 0" >fstab
      echo "oci:$PWD/layout:t $PWD/one weightfs registry_root=$PWD/own,log_file=$PWD/log2,verify=strict,nofail 0 0" >>fstab
      run all mount -a -T fstab
      run again mount -a -T fstab
      ls one
      findmnt -n -o TARGET mnt | wc -l
      findmnt -n -o TARGET one | wc -l
      run umount umount mnt one
      """
    )
    #expect(
      lines(result) == ["all 0", "again 0", "model.gguf", "1", "1", "umount 0"],
      "\(result.output)\(result.error)"
    )
  }

  @Test func aRemountKeepsItsOptionsAndNamesOneThatCannotChange() async throws {
    let result = try await inNamespace(
      """
      run first mount -t weightfs models mnt -o "$options,noexec,max_read=65536"
      run same mount -o "remount,$options,noexec,max_read=65536" mnt
      run bare mount -o remount mnt
      run writable mount -o remount,rw mnt
      run ttl mount -o remount,ttl=5 mnt
      run fill mount -o "remount,$options,fill=demand" mnt
      run read mount -o remount,max_read=8192 mnt
      run second mount -t weightfs models mnt -o "$options,noexec,max_read=65536,ttl=7"
      findmnt -n -o TARGET mnt | wc -l
      run umount umount mnt
      run absent mount -t weightfs models mnt -o "remount,$options"
      """
    )
    #expect(
      lines(result) == [
        "first 0", "same 0", "bare 0", "writable 0", "ttl 32", "fill 32", "read 32", "second 32", "1",
        "umount 0",
        "absent 32",
      ],
      "\(result.output)\(result.error)"
    )
    for name in ["ttl", "fill", "max_read"] {
      #expect(result.error.contains("other options: \(name)."), "\(name): \(result.error)")
    }
    #expect(result.error.contains("weightfs is not mounted there"), "\(result.error)")
  }

  @Test func failuresHaveTheStatusesOfMount() async throws {
    let result = try await inNamespace(
      """
      run usage mount -t weightfs models mnt -o "$options,nonsense=1"
      run source mount -t weightfs "oci:$PWD/nowhere:t" mnt -o "$options"
      run absent findmnt mnt
      run fake mount -f -t weightfs models mnt -o "$options"
      run nothing findmnt mnt
      """
    )
    #expect(
      lines(result) == ["usage 1", "source 32", "absent 1", "fake 0", "nothing 1"],
      "\(result.output)\(result.error)"
    )
    #expect(result.error.contains("'nonsense'") && result.error.contains("nowhere"), "\(result.error)")
  }

  @Test func theSystemKeepsItsOwnDirectory() async throws {
    let before = try await Command.shell("ls -l /sbin/ | sha256sum; findmnt -n /sbin")
    // Nothing is unmounted, and the daemon runs when the script ends.
    let result = try await inNamespace(
      #"run first mount -t weightfs models mnt -o "$options"; ls /sbin/mount.weightfs"#
    )
    #expect(lines(result) == ["first 0", "/sbin/mount.weightfs"], "\(result.output)\(result.error)")
    let after = try await Command.shell("ls -l /sbin/ | sha256sum; findmnt -n /sbin")
    #expect(before.output == after.output)
    let left = try await Command.shell(
      "grep -F '\(folder.path)' /proc/self/mountinfo; pgrep -af -- '--ready-descripto[r]' | grep -F '\(folder.path)/mnt'"
    )
    #expect(left.output.isEmpty, "\(left.output)")
  }
}
