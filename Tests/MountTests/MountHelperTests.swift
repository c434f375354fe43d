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

  /// Replaces weightfs with a program that prints its arguments.
  private func useEcho() async throws {
    let made = try await Command.shell(
      #"cd '\#(folder.path("prefix/bin"))' && printf '#!/bin/sh\nfor word; do echo "[$word]"; done\n' >weightfs && chmod +x weightfs"#
    )
    try #require(made.status == 0)
  }

  private func mount(_ options: String, source: String = "models") async throws -> Command.Result {
    try await Command.shell("'\(helper)' '\(source)' '\(folder.path("mnt"))' -o '\(options)'")
  }

  @Test func everyOptionOfTheCommandIsKnown() async throws {
    try await useEcho()
    let help = try await Command.run([MountProcess.program, "mount", "--help"]).output
    let own = ["foreground", "help", "version"]
    var names: Set<String> = []
    for line in help.split(separator: "\n") {
      let text = line.drop { $0 == " " }
      guard text.hasPrefix("--") else { continue }
      names.insert(String(text.dropFirst(2).prefix { $0.isLetter || $0 == "-" }))
    }
    #expect(names.count > 20, "\(help)")
    for name in names.subtracting(own).sorted() {
      let isFlag = !help.contains("--\(name) <")
      let option = name.replacing("-", with: "_")
      let result = try await mount(isFlag ? option : "\(option)=7")
      #expect(result.output.contains(isFlag ? "[--\(name)]" : "[--\(name)=7]"), "\(name): \(result.error)")
    }
    #expect(try await mount("nonsense=1").status == 1)
    #expect(try await mount("nonsense").error.contains("'nonsense'"))
  }

  @Test func quotesKeepCommasTogether() async throws {
    try await useEcho()
    let result = try await mount(#"rw,registry_root="/a,b",context="u:o:t:s0:c1,c2",noexec,max_read=65536"#)
    #expect(
      result.output.split(separator: "\n").dropFirst() == [
        "[--registry-root=/a,b]", "[-o]", #"[context="u:o:t:s0:c1,c2"]"#, "[-o]", "[noexec]", "[-o]",
        "[max_read=65536]",
        "[--again]", "[\(folder.path("mnt"))]",
      ],
      "\(result.output)\(result.error)"
    )
    let open = try await mount(#"context="u:o,ro"#)
    #expect(open.status == 1 && open.error.contains("quote"))
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
    let absent = try await mount("remount,\(options)")
    #expect(absent.status == 32 && absent.error.contains("weightfs is not mounted"), "\(absent.error)")
  }
}
