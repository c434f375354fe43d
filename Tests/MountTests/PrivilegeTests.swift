import Foundation
import TestSupport
import Testing

/// The privileges of the daemon, and the permissions of its files.
struct PrivilegeTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func statuses(of process: Int32) -> [[String: String]] {
    let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task")) ?? []
    return threads.compactMap { thread in
      guard
        let text = try? String(contentsOfFile: "/proc/\(process)/task/\(thread)/status", encoding: .utf8)
      else { return nil }
      var found: [String: String] = [:]
      for line in text.split(separator: "\n") {
        let parts = line.split(separator: ":", maxSplits: 1)
        if parts.count == 2 { found[String(parts[0])] = parts[1].trimmingCharacters(in: .whitespaces) }
      }
      return found
    }
  }

  private func write(_ name: String, _ bytes: [UInt8]) throws {
    try LayoutMaker.write(folder, "layout", layers: [LayoutMaker.file(name, bytes)], reference: "t")
  }

  private func mode(_ path: String) -> Int? {
    (try? FileManager.default.attributesOfItem(atPath: path))?[.posixPermissions] as? Int
  }

  @Test func everyThreadOfARootDaemonGivesUpWhatAMountDoesNotNeed() async throws {
    try write("model.gguf", ModelFile.gguf(200_000, seed: 1))
    let mount = try await MountProcess(folder, source: "oci:\(folder.path("layout")):t")
    // Threads that are created later have the same capabilities.
    let read = try await Command.shell("sha256sum '\(mount.path("model.gguf"))'")
    #expect(read.status == 0, "\(read.error)")
    let found = statuses(of: mount.process)
    #expect(found.count > 3)
    // CAP_DAC_OVERRIDE (1), CAP_DAC_READ_SEARCH (2), CAP_FOWNER (3), CAP_SYS_ADMIN (21) of capabilities(7).
    let kept: UInt64 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 21
    for status in found {
      for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        let bits = try #require(status[set].flatMap { UInt64($0, radix: 16) })
        #expect(bits & ~kept == 0, "\(set) \(String(bits, radix: 16)) of \(status["Name"] ?? "")")
      }
      #expect(status["NoNewPrivs"] == "1")
    }
    let limits = try String(contentsOfFile: "/proc/\(mount.process)/limits", encoding: .utf8)
    let core = limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") }
    #expect(core?.split(separator: " ").dropFirst(4).first == "0", "\(core ?? "")")
  }

  @Test(arguments: [false, true])
  func aRootDaemonKeepsExactlyWhatItsRootNeeds(_ isOfAnotherGroup: Bool) async throws {
    try write("model.gguf", ModelFile.gguf(200_000, seed: 1))
    if isOfAnotherGroup {
      let made = try await Command.shell(
        "mkdir '\(folder.path("root"))' && chgrp 4242 '\(folder.path("root"))'"
      )
      try #require(made.status == 0, "\(made.error)")
    }
    let mount = try await MountProcess(folder, source: "oci:\(folder.path("layout")):t")
    let read = try await Command.shell("sha256sum '\(mount.path("model.gguf"))'")
    #expect(read.status == 0, "\(read.error)")
    // CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_SYS_ADMIN; CAP_CHOWN for a root of another user.
    var kept: UInt64 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 21
    if isOfAnotherGroup { kept |= 1 }
    func bits(_ set: String, _ status: [String: String]) -> UInt64? {
      status[set].flatMap { UInt64($0, radix: 16) }
    }
    // A container may have given fewer to whoever runs the tests.
    let own = try #require(statuses(of: getpid()).first.flatMap { bits("CapPrm", $0) })
    let found = statuses(of: mount.process)
    #expect(found.count > 3)
    for status in found {
      let name = status["Name"] ?? ""
      #expect(bits("CapEff", status) == kept & own, "\(name): \(status["CapEff"] ?? "")")
      #expect(bits("CapPrm", status) == kept & own, "\(name): \(status["CapPrm"] ?? "")")
      #expect(bits("CapInh", status) == 0 && bits("CapAmb", status) == 0, "\(name)")
    }
  }

  @Test func aRootThatIsMadeIsItsOwnersAlone() async throws {
    try write("a.bin", [1, 2, 3])
    let mount = try await MountProcess(folder, source: "oci:\(folder.path("layout")):t")
    #expect(mode(folder.path("root")) == 0o700)
    #expect(mode(folder.path("root/.weightfs")) == 0o700)
    #expect(!mount.messages.contains("other users can read"))
  }

  @Test func aRootThatOthersCanReadIsToldOfAndLeftAsItIs() async throws {
    try write("a.bin", [1, 2, 3])
    try FileManager.default.createDirectory(atPath: folder.path("root"), withIntermediateDirectories: true)
    chmod(folder.path("root"), 0o755)
    let mount = try await MountProcess(folder, source: "oci:\(folder.path("layout")):t")
    #expect(mount.messages.split(separator: "\n").filter { $0.contains("other users can read") }.count == 1)
    #expect(mount.messages.contains(folder.path("root")))
    #expect(mode(folder.path("root")) == 0o755)
    #expect(mode(folder.path("root/.weightfs")) == 0o700)
  }

  @Test(arguments: ["group", "all"])
  func aRootIsSharedWhereThatWasAskedFor(_ share: String) async throws {
    try write("a.bin", [1, 2, 3])
    let mount = try await MountProcess(
      folder,
      source: "oci:\(folder.path("layout")):t",
      ["--shared-root", share]
    )
    let found = try #require(mode(folder.path("root")))
    // Users who share it must at least be able to search and read it; the owner always can.
    #expect(found & 0o700 == 0o700)
    #expect(found & 0o050 == 0o050, "\(String(found, radix: 8))")
    #expect((found & 0o005 == 0o005) == (share == "all"), "\(String(found, radix: 8))")
    withExtendedLifetime(mount) {}
  }

  /// Mounts in the background with the log in the root, the default for users.
  private func mount(_ options: String = "") async throws -> Command.Result {
    try FileManager.default.createDirectory(atPath: folder.path("point"), withIntermediateDirectories: true)
    return try await Command.shell(
      "'\(MountProcess.program)' mount --offline --registry-root '\(folder.path("root"))' \(options) '\(folder.path("point"))'"
    )
  }

  private func unmount() async throws {
    _ = try await Command.shell("'\(MountProcess.program)' unmount '\(folder.path("point"))'")
  }

  @Test func theLogAndTheStateOfARootAreTheOwnersAlone() async throws {
    let result = try await mount()
    #expect(result.status == 0, "\(result.error)")
    #expect(mode(folder.path("root")) == 0o700)
    #expect(mode(folder.path("root/.weightfs")) == 0o700)
    #expect(mode(folder.path("root/.weightfs/mount.log")) == 0o600)
    #expect(mode(folder.path("root/.weightfs/state/space")) == 0o600)
    try await unmount()
  }

  @Test func whatIsAddedTakesTheGroupOfItsRoot() async throws {
    let made = try await Command.shell(
      "mkdir '\(folder.path("root"))' && chgrp 4242 '\(folder.path("root"))'"
    )
    try #require(made.status == 0)
    let result = try await mount()
    #expect(result.status == 0, "\(result.error)")
    for name in ["", "/.weightfs", "/.weightfs/mount.log", "/.weightfs/state/space"] {
      let group = try await Command.shell("stat -c %g '\(folder.path("root"))\(name)'")
      #expect(group.output == "4242\n", "\(name)")
    }
    try await unmount()
  }

  @Test func aRootThatTheBackgroundProcessNeedsFirstIsSharedToo() async throws {
    let result = try await mount("--shared-root all")
    #expect(result.status == 0, "\(result.error)")
    #expect((mode(folder.path("root")) ?? 0) & 0o055 == 0o055)
    #expect((mode(folder.path("root/.weightfs")) ?? 0) & 0o055 == 0o055)
    try await unmount()
  }

  @Test func aLogThatIsALinkIsRefused() async throws {
    try folder.write(Array("mine".utf8), to: "victim")
    try FileManager.default.createDirectory(
      atPath: folder.path("root/.weightfs"),
      withIntermediateDirectories: true
    )
    try FileManager.default.createSymbolicLink(
      atPath: folder.path("root/.weightfs/mount.log"),
      withDestinationPath: folder.path("victim")
    )
    let result = try await mount()
    #expect(result.status != 0)
    #expect(result.error.contains("mount.log"), "\(result.error)")
    #expect(try folder.read("victim") == Array("mine".utf8))
    try await unmount()
  }
}
