import Content
import Foundation
import OCI
import TestSupport
import Testing

/// SIGKILL during a fetch: no wrong data is left, and the next run continues.
@Suite(.serialized) struct CrashTests {
  @Test func killedAtRandomMomentsItResumesAndKeepsNoWrongByte() async throws {
    let folder = try TemporaryFolder()
    let bytes = SeededGenerator.bytes(64 << 20, seed: 9)
    let digest = Verification.digest(of: bytes)
    let registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": bytes], repository: "acme/m", tag: "t")
    let kills = ProcessInfo.processInfo.environment["WEIGHTFS_KILLS"].flatMap { Int($0) } ?? 20
    let seed = UInt64.random(in: 0 ... .max)
    var generator = SeededGenerator(seed: seed)
    let blob = folder.path("root/.weightfs/blobs/sha256/\(digest.hex)")
    for round in 0..<kills {
      let mount = try await MountProcess(folder, name: "m\(round)", ["--timeout", "5"])
      let path = mount.path("\(registry.host)/acme/m:t/model.gguf")
      let reader = Task { try await Command.shell("cat '\(path)' | sha256sum", seconds: 20) }
      try await Task.sleep(for: .milliseconds(Int.random(in: 0...250, using: &generator)))
      try await mount.crash()
      _ = try await reader.value
      if FileManager.default.fileExists(atPath: blob) {
        let found = Verification.digest(of: Array(try Data(contentsOf: URL(filePath: blob))))
        #expect(found == digest, "seed \(seed), round \(round): a wrong blob has the digest's name")
        // Start with an empty root, so that each round kills a fetch.
        try FileManager.default.removeItem(atPath: folder.path("root"))
      }
    }
    registry.server.forgetRequests()
    let partial =
      (try? await Command.shell("du -s --block-size=1 '\(folder.path("root/.weightfs/partial"))' | cut -f1")
        .output) ?? ""
    let mount = try await MountProcess(folder, name: "last")
    let path = mount.path("\(registry.host)/acme/m:t/model.gguf")
    let result = try await Command.shell("sha256sum <'\(path)'")
    #expect(result.output.hasPrefix(digest.hex), "seed \(seed)")
    let fetched = registry.blobRequests.reduce(0) { $0 + ($1.range(size: bytes.count)?.count ?? 0) }
    #expect(fetched <= bytes.count, "seed \(seed): \(fetched) bytes fetched, \(partial) were there")
    #expect(await eventually { FileManager.default.fileExists(atPath: blob) })
    #expect(Verification.digest(of: Array(try Data(contentsOf: URL(filePath: blob)))) == digest)
  }

  @Test func twoDaemonsOnOneRootFetchEachBlockOnce() async throws {
    let folder = try TemporaryFolder()
    let bytes = SeededGenerator.bytes(40 << 20, seed: 10)
    let registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": bytes], repository: "acme/m", tag: "t")
    let first = try await MountProcess(folder, name: "first")
    let second = try await MountProcess(folder, name: "second")
    let name = "\(registry.host)/acme/m:t/model.gguf"
    async let one = Command.shell("sha256sum <'\(first.path(name))'")
    async let two = Command.shell("sha256sum <'\(second.path(name))'")
    let results = try await [one, two]
    for result in results {
      #expect(
        result.output.hasPrefix(Verification.digest(of: bytes).hex),
        "\(result.error)\(first.messages)\(second.messages)"
      )
    }
    let digest = Verification.digest(of: bytes)
    let fetched = registry.blobRequests.filter { $0.path.hasSuffix(digest.hex) }.reduce(0) {
      $0 + ($1.range(size: bytes.count)?.count ?? bytes.count)
    }
    #expect(fetched <= bytes.count)
  }

  @Test func aFullDiskIsNoErrorOfTheReader() async throws {
    let folder = try TemporaryFolder()
    let bytes = SeededGenerator.bytes(60 << 20, seed: 11)
    let registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": bytes], repository: "acme/m", tag: "t")
    let made = try await Command.shell(
      "mkdir '\(folder.path("root"))' && mount -t tmpfs -o size=24m none '\(folder.path("root"))'"
    )
    try #require(made.status == 0, "\(made.error)")
    let mount = try await MountProcess(folder)
    let result = try await Command.shell(
      "sha256sum <'\(mount.path("\(registry.host)/acme/m:t/model.gguf"))'",
      seconds: 100
    )
    #expect(
      result.output.hasPrefix(Verification.digest(of: bytes).hex),
      "\(result.error)\(mount.messages.suffix(2000))"
    )
    _ = try await Command.shell("umount -l '\(mount.mountPoint)'; umount -l '\(folder.path("root"))'")
  }
}
