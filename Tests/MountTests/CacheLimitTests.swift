import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Caches that are smaller than the data read through them.
@Suite(.serialized) struct CacheLimitTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func blobBytes() async throws -> Int {
    let result = try await Command.shell(
      "du -s --block-size=1 '\(folder.path("root/.weightfs/blobs"))' '\(folder.path("root/.weightfs/partial"))' | awk '{ sum += $1 } END { print sum }'"
    )
    return Int(result.output.trimmingCharacters(in: .whitespacesAndNewlines)) ?? -1
  }

  @Test func aModelThreeTimesTheLimitReadsRightAndTheLimitHolds() async throws {
    let bytes = SeededGenerator.bytes(40 << 20, seed: 51)
    let registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": bytes], repository: "acme/m", tag: "t")
    let mount = try await MountProcess(folder, ["--cache-limit", "12M"])
    let path = mount.path("\(registry.host)/acme/m:t/model.gguf")
    let watch = Task {
      var most = 0
      while !Task.isCancelled { most = max(most, try await blobBytes()) }
      return most
    }
    let result = try await Command.shell("sha256sum <'\(path)'", seconds: 100)
    watch.cancel()
    var most = try await watch.value
    #expect(result.output.hasPrefix(Verification.digest(of: bytes).hex), "\(result.error)\(mount.messages)")
    most = max(most, try await blobBytes())
    // The directories and the map of the partial blob take some kilobytes.
    #expect(most <= (13 << 20), "\(most) bytes at most")
    #expect(most >= 8 << 20, "bytes within the limit are kept: \(most)")
    let told = mount.messages.components(separatedBy: "has no space left").count - 1
    #expect(told == 1, "\(mount.messages)")
  }

  @Test func oneModelMakesRoomForTheNext() async throws {
    let registry = try FaultyRegistry()
    var names: [String] = []
    for index in 0..<4 as Range<UInt64> {
      let bytes = SeededGenerator.bytes(5 << 20, seed: 60 + index)
      try registry.add(files: ["model.gguf": bytes], repository: "acme/m", tag: "t\(index)")
      names.append(Verification.digest(of: bytes).hex)
    }
    let mount = try await MountProcess(folder, ["--cache-limit", "12M"])
    for (index, hex) in names.enumerated() {
      let path = mount.path("\(registry.host)/acme/m:t\(index)/model.gguf")
      #expect(try await Command.shell("sha256sum <'\(path)'").output.hasPrefix(hex))
      #expect(await eventually { folder.has("root/.weightfs/blobs/sha256/\(hex)") })
      #expect(try await blobBytes() <= 13 << 20)
    }
    #expect(!folder.has("root/.weightfs/blobs/sha256/\(names[0])"), "the oldest blob is evicted")
    #expect(folder.has("root/.weightfs/blobs/sha256/\(names[3])"))
    #expect(!mount.messages.contains("has no space left"), "\(mount.messages)")
    let again = mount.path("\(registry.host)/acme/m:t0/model.gguf")
    #expect(
      try await Command.shell("sha256sum <'\(again)'").output.hasPrefix(names[0]),
      "it is fetched again"
    )
  }

  @Test func aSecondProcessKeepsTheLimitOfTheFirst() async throws {
    let registry = try FaultyRegistry()
    for index in 0..<3 as Range<UInt64> {
      try registry.add(
        files: ["model.gguf": SeededGenerator.bytes(5 << 20, seed: 70 + index)],
        repository: "acme/m",
        tag: "t\(index)"
      )
    }
    let mount = try await MountProcess(folder, ["--cache-limit", "12M"])
    for index in 0..<3 {
      let result = try await WeightfsCommand.run("pull \(registry.host)/acme/m:t\(index)", in: folder)
      #expect(result.status == 0, "\(result.error)")
      #expect(try await blobBytes() <= 13 << 20)
    }
    let large = SeededGenerator.bytes(20 << 20, seed: 80)
    try registry.add(files: ["model.gguf": large], repository: "acme/m", tag: "large")
    let refused = try await WeightfsCommand.run("pull \(registry.host)/acme/m:large", in: folder)
    #expect(refused.status == 1 && refused.error.contains("--cache-limit"), "\(refused.error)")
    #expect(registry.blobRequests.allSatisfy { !$0.path.hasSuffix(Verification.digest(of: large).hex) })
    withExtendedLifetime(mount) {}
  }

  @Test func whatIsToStayFreeStaysFree() async throws {
    let made = try await Command.shell(
      "mkdir '\(folder.path("root"))' && mount -t tmpfs -o size=32m none '\(folder.path("root"))'"
    )
    try #require(made.status == 0, "\(made.error)")
    defer { umount2(folder.path("root"), Int32(MNT_DETACH)) }
    let bytes = SeededGenerator.bytes(40 << 20, seed: 52)
    let registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": bytes], repository: "acme/m", tag: "t")
    let mount = try await MountProcess(folder, ["--min-free", "20M"])
    let path = mount.path("\(registry.host)/acme/m:t/model.gguf")
    let result = try await Command.shell("sha256sum <'\(path)'", seconds: 100)
    #expect(result.output.hasPrefix(Verification.digest(of: bytes).hex), "\(result.error)\(mount.messages)")
    let free = try await Command.shell("df --output=avail -B1 '\(folder.path("root"))' | tail -1")
    let left = Int(free.output.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
    #expect(left >= 20 << 20, "\(left) bytes are free")
  }
}
