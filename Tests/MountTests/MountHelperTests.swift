import Foundation
import MountDaemon
import TestSupport
import Testing

/// `mount.weightfs`, as mount(8) calls it.
struct MountHelperTests {
  private let folder: TemporaryFolder
  private let helper: String

  init() throws {
    folder = try TemporaryFolder()
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    helper = folder.path("prefix/sbin/mount.weightfs")
    // The same layout as after `make install`.
    for name in ["prefix/bin", "prefix/sbin", "mnt"] {
      try FileManager.default.createDirectory(atPath: folder.path(name), withIntermediateDirectories: true)
    }
    try FileManager.default.copyItem(
      atPath: root.appending(path: "mount-helpers/mount.weightfs").path,
      toPath: helper
    )
  }

  private func mount(_ options: String, source: String = "models") async throws -> Command.Result {
    try await Command.shell("'\(helper)' '\(source)' '\(folder.path("mnt"))' -o '\(options)'")
  }

  @Test func labelsGoToTheKernelAsLibfuseWantsThem() throws {
    let options = try KernelMountOptions(
      parsing: #"noexec,context="u:o:t:s0:c1,c2",rootcontext=a:b,max_read=4096"#
    )
    #expect(options.text == #",noexec,context="u:o:t:s0:c1\,c2",rootcontext=a:b,max_read=4096"#)
    #expect(options.advice != nil)
    for wrong in [
      "exec", "suid", "max_read=x", "max_read=1", "context=", #"context="a\b""#, "fsname=x", "allow_root",
    ] {
      #expect(throws: KernelMountOptions.Problem.self, "\(wrong)") { try KernelMountOptions(parsing: wrong) }
    }
  }

  @Test func aMountIsMadeOnceAndItsOptionsStay() async throws {
    try FileManager.default.createSymbolicLink(
      atPath: folder.path("prefix/bin/weightfs"),
      withDestinationPath: MountProcess.program
    )
    let mountPoint = folder.path("mnt")
    defer { umount2(mountPoint, Int32(MNT_DETACH)) }
    let options =
      "registry_root=\(folder.path("root")),log_file=\(folder.path("log")),offline,noexec,max_read=65536"
    let first = try await mount("rw,\(options)")
    #expect(first.status == 0, "\(first.error)")
    let shown = try await Command.shell("findmnt -n -o OPTIONS '\(mountPoint)'").output
    #expect(
      shown.contains("noexec") && shown.contains("max_read=65536") && shown.hasPrefix("ro,"),
      "\(shown)"
    )
    for same in [
      "rw,\(options)", "remount,\(options)", "remount,rw,relatime,user_id=0", "\(options),_netdev",
    ] {
      let result = try await mount(same)
      #expect(result.status == 0, "\(same): \(result.error)")
    }
    for (changed, name) in [
      ("remount,ttl=5", "ttl"), ("\(options),fill=demand", "fill"), ("remount,max_read=8192", "max_read"),
    ] {
      let result = try await mount(changed)
      #expect(
        result.status == 32 && result.error.contains("other options: \(name)"),
        "\(changed): \(result.error)"
      )
    }
    let other = try await mount(options, source: "oci:\(folder.path("x")):t")
    #expect(other.status == 32 && other.error.contains("the source"), "\(other.error)")
    let count = try await Command.shell("findmnt -n -o TARGET '\(mountPoint)' | wc -l").output
    #expect(count.filter(\.isNumber) == "1", "nothing is mounted over it")
    let unmounted = try await Command.shell("'\(MountProcess.program)' unmount '\(mountPoint)'")
    #expect(unmounted.status == 0)
    for wrong in ["nonsense=1", "ttl=x", #"context="u:o,ro"#, "umask=999"] {
      let result = try await mount("\(options),\(wrong)")
      #expect(result.status == 1 && result.error.hasPrefix("mount.weightfs: "), "\(wrong): \(result)")
    }
    let absent = try await mount("remount,\(options)")
    #expect(absent.status == 32 && absent.error.contains("weightfs is not mounted"), "\(absent.error)")
  }
}
