import Content
import Foundation
import OCI
import TestSupport
import Testing

/// A local registry on a full disk: bytes are served without being cached, and not fetched repeatedly.
@Suite(.serialized) struct FullDiskTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
  }

  /// A small disk for the root, unmounted when this object is freed.
  private final class Disk {
    let path: String

    init(_ folder: TemporaryFolder, size: String) async throws {
      path = folder.path("root")
      let made = try await Command.shell(
        "mkdir -p '\(path)' && mount -t tmpfs -o size=\(size) none '\(path)'"
      )
      try #require(made.status == 0, "\(made.error)")
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }
  }

  private func sent() -> Int {
    registry.blobRequests.reduce(0) { sum, request in
      let ends = (request.headers["range"] ?? "").dropFirst("bytes=".count).split(separator: "-").compactMap {
        Int($0)
      }
      return sum + (ends.count == 2 ? ends[1] - ends[0] + 1 : 0)
    }
  }

  @Test func aModelLargerThanTheDiskIsFetchedOnce() async throws {
    let disk = try await Disk(folder, size: "24m")
    let bytes = SeededGenerator.bytes(100 << 20, seed: 41)
    try registry.add(files: ["model.gguf": bytes], repository: "acme/m", tag: "t")
    for options in [[], ["--min-free", "0"]] {
      registry.server.forgetRequests()
      let mount = try await MountProcess(folder, name: "mount\(options.count)", options)
      let path = mount.path("\(registry.host)/acme/m:t/model.gguf")
      let read = try await Command.shell("sha256sum <'\(path)'", seconds: 120)
      #expect(read.output.hasPrefix(Verification.digest(of: bytes).hex), "\(read.error)\(mount.messages)")
      #expect(sent() <= bytes.count * 13 / 10, "\(sent()) of \(bytes.count) bytes were requested")
      let peak = try #require(mount.peakMemory)
      #expect(peak < 256 << 20, "\(peak >> 20) MiB")
    }
    withExtendedLifetime(disk) {}
  }

  @Test func aFullDiskIsNoErrorOfAReader() async throws {
    let disk = try await Disk(folder, size: "16m")
    let small = SeededGenerator.bytes(6 << 20, seed: 42)
    let large = SeededGenerator.bytes(30 << 20, seed: 43)
    try registry.add(files: ["small.bin": small, "large.bin": large], repository: "acme/m", tag: "t")
    try registry.add(files: ["first.bin": [1]], repository: "acme/first", tag: "t")
    let mount = try await MountProcess(folder, [])
    _ = try await Command.shell("ls '\(mount.path("\(registry.host)/acme/first:t"))'")
    // No space is left, not even for empty files.
    let filled = try await Command.shell(
      "cd '\(folder.path("root"))'; head -c 40000000 /dev/zero >fill 2>/dev/null; i=0; while : >x$i 2>/dev/null && [ $i -lt 200000 ]; do i=$((i+1)); done; df --output=avail . | tail -1"
    )
    #expect(filled.output.filter(\.isNumber) == "0", "\(filled.output)")
    for (name, bytes) in [("small.bin", small), ("large.bin", large)] {
      registry.server.forgetRequests()
      let read = try await Command.shell(
        "sha256sum <'\(mount.path("\(registry.host)/acme/m:t/\(name)"))'",
        seconds: 100
      )
      #expect(
        read.output.hasPrefix(Verification.digest(of: bytes).hex),
        "\(name): \(read.error)\(mount.messages)"
      )
      #expect(sent() <= bytes.count * 13 / 10, "\(name): \(sent()) of \(bytes.count) bytes")
    }
    #expect(mount.messages.components(separatedBy: "has no space left").count == 2, "\(mount.messages)")
    withExtendedLifetime(disk) {}
  }

  @Test func aPullSaysWhatEvictionCouldFree() async throws {
    let disk = try await Disk(folder, size: "40m")
    for (tag, size) in [("one", 20), ("two", 30)] {
      let bytes = SeededGenerator.bytes(size << 20, seed: UInt64(size))
      try registry.add(files: ["model.gguf": bytes], repository: "acme/m", tag: tag)
    }
    let first = try await WeightfsCommand.run("pull \(registry.host)/acme/m:one", in: folder)
    #expect(first.status == 0, "\(first.error)")
    let second = try await WeightfsCommand.run("pull \(registry.host)/acme/m:two", in: folder)
    #expect(second.status == 1)
    #expect(
      second.error.contains("'weightfs evict' of artifacts that were pulled could free 20.0 MiB"),
      "\(second.error)"
    )
    // For a limit set by the user, pulled artifacts are evicted.
    let third = try await WeightfsCommand.run("pull --min-free 1M \(registry.host)/acme/m:two", in: folder)
    #expect(third.status == 0, "\(third.error)")
    withExtendedLifetime(disk) {}
  }
}
