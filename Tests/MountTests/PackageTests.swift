import Foundation
import TestSupport
import Testing

/// The Debian package that `make deb` builds from the program under test.
@Suite(.serialized) struct PackageTests {
  private let folder: TemporaryFolder
  private let script: String

  init() throws {
    folder = try TemporaryFolder()
    script =
      URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "mount-helpers/build-deb").path
  }

  private func shell(_ text: String) async throws -> String {
    let result = try await Command.shell("cd '\(folder.path)' && " + text, seconds: 120)
    try #require(result.status == 0, "\(text): \(result.output)\(result.error)")
    return result.output
  }

  @Test func itInstallsUpgradesAndRemovesCleanly() async throws {
    let package = try await shell("'\(script)' '\(MountProcess.program)' out")
      .trimmingCharacters(in: .whitespacesAndNewlines)
    // A separate dpkg database in the test's directory: the machine is not changed.
    let dpkg =
      "dpkg --root='\(folder.path("root"))' --force-not-root --force-depends --force-script-chrootless --log=/dev/null"
    _ = try await shell(
      "mkdir -p root/var/lib/dpkg/updates root/var/lib/dpkg/info && touch root/var/lib/dpkg/status root/var/lib/dpkg/available"
    )
    _ = try await shell("\(dpkg) -i '\(package)'")
    #expect(
      try await shell(
        "cmp root/usr/bin/weightfs '\(MountProcess.program)' && root/usr/bin/weightfs --version"
      ) != ""
    )
    #expect(try await shell("zcat root/usr/share/man/man1/weightfs.1.gz | head -40").contains("weightfs"))
    // The helper finds the program beside it.
    _ = try await shell("mkdir mnt && root/usr/sbin/mount.fuse.weightfs models \"$PWD/mnt\" -f -o offline")
    let owners = try await shell("dpkg-deb -c '\(package)' | awk '{print $2}' | sort -u")
    #expect(owners == "root/root\n")
    // An upgrade: the same files under a later version.
    _ = try await shell(
      "dpkg-deb -R '\(package)' next && sed -i 's/^Version: .*/&+1/' next/DEBIAN/control && dpkg-deb --root-owner-group -b next next.deb"
    )
    _ = try await shell("\(dpkg) -i next.deb")
    #expect(try await shell("\(dpkg) -s weightfs").contains("+1\n"))
    #expect(try await shell("\(dpkg) --verify weightfs") == "")
    _ = try await shell("\(dpkg) -P weightfs")
    #expect(try await shell("find root -not -path 'root/var*' -not -type d") == "")
  }

  @Test func twoBuildsInOnePathGiveTheSameBytesAndTheConfigurationIsKept() async throws {
    let package = try await shell("'\(script)' '\(MountProcess.program)' out")
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let first = try await shell("sha256sum '\(package)'")
    _ = try await shell("'\(script)' '\(MountProcess.program)' out")
    #expect(try await shell("sha256sum '\(package)'") == first)
    let files = try await shell("dpkg-deb -c '\(package)' | awk '{print $6}'")
    for name in [
      "./lib/systemd/system/weightfs@.service", "./usr/share/man/man5/weightfs.toml.5.gz",
      "./usr/share/man/man8/mount.weightfs.8.gz", "./usr/share/bash-completion/completions/weightfs",
    ] {
      #expect(files.contains("\(name)\n"), "\(name)")
    }
    #expect(
      try await shell("dpkg-deb -I '\(package)' conffiles")
        == "/etc/logrotate.d/weightfs\n/etc/weightfs/config.toml\n"
    )
    let check = try await shell(
      "dpkg-deb -x '\(package)' x && sed 's/^#\\([a-z[]\\)/\\1/' x/etc/weightfs/config.toml >c.toml && WEIGHTFS_CONFIG=$PWD/c.toml x/usr/bin/weightfs config check"
    )
    #expect(check.hasSuffix("c.toml: ok\n"), "the examples are right: \(check)")
  }

  @Test func itDependsOnWhatThisSystemHasAndOnNoSwift() async throws {
    let package = try await shell("'\(script)' '\(MountProcess.program)' out")
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let depends = try await shell("dpkg-deb -f '\(package)' Depends")
    for library in ["libc6", "libfuse3", "libcurl4", "libarchive13", "libssl3"] {
      #expect(depends.contains(library), "\(depends)")
    }
    let linked = try await shell("ldd '\(MountProcess.program)'")
    #expect(!linked.contains("swift") && !linked.contains("not found"), "\(linked)")
    let words = depends.split(separator: ",").compactMap { $0.split(separator: " ").first.map(String.init) }
    for word in words where word.hasPrefix("lib") {
      let found = try await Command.shell("dpkg-query -W -f '${Status}' '\(word)'")
      #expect(found.output.contains("ok installed"), "\(word)")
    }
  }

  @Test func makeInstallHasTheHelpersOfBothTypes() async throws {
    let root = URL(filePath: script).deletingLastPathComponent().deletingLastPathComponent().path
    let target = folder.path("target")
    // The program is there: `-o` keeps make from building it.
    _ = try await shell("make -s -C '\(root)' -o release install DESTDIR='\(target)' PREFIX=/usr")
    #expect(try await shell("cmp target/usr/bin/weightfs '\(MountProcess.program)' && echo same") == "same\n")
    for helper in ["mount.weightfs", "mount.fuse.weightfs"] {
      _ = try await shell(
        "mkdir -p mnt && target/usr/sbin/\(helper) models \"$PWD/mnt\" -f -o offline,ro,dev,suid"
      )
    }
    _ = try await shell("make -s -C '\(root)' uninstall DESTDIR='\(target)' PREFIX=/usr")
    #expect(try await shell("find target -type f -o -type l").isEmpty)
  }
}
