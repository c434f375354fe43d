import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Several processes that fill one root.
@Suite(.serialized) struct PullTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private var sizes: [String: Int] = [:]

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    // Every third artifact shares a blob with the next one.
    for index in 0..<20 as Range<UInt64> {
      let own = SeededGenerator.bytes(200_000 + Int(index) * 10_000, seed: 200 + index)
      let shared = SeededGenerator.bytes(300_000, seed: 300 + index / 3)
      for bytes in [own, shared] { sizes[Verification.digest(of: bytes).hex] = bytes.count }
      try registry.add(files: ["a.gguf": own, "b.gguf": shared], repository: "acme/m\(index)", tag: "t")
    }
  }

  private var names: String { (0..<20).map { "\(registry.host)/acme/m\($0):t" }.joined(separator: " ") }

  private func weightfs(_ command: String, _ root: String = "root") async throws -> Command.Result {
    try await WeightfsCommand.run(command, in: folder, root: root, seconds: 120)
  }

  /// Returns the bytes sent of each blob.
  private func sent() -> [String: Int] {
    var found: [String: Int] = [:]
    for request in registry.blobRequests {
      guard let hex = request.path.split(separator: ":").last.map(String.init), let size = sizes[hex] else {
        continue
      }
      found[hex, default: 0] += request.range(size: size)?.count ?? size
    }
    return found
  }

  @Test func aTagIsNotPulledFromARegistryThatDoesNotAnswer() async throws {
    let name = "\(registry.host)/acme/m0:t"
    let first = try await weightfs("pull \(name)")
    #expect(first.status == 0, "\(first.error)")
    let digest = String(first.output.split(separator: "\t")[1])
    registry.server.stop()
    let gone = try await weightfs("pull --retry-for 0 \(name)")
    #expect(gone.status == 5, "\(gone.output)\(gone.error)")
    // The artifact is present by its digest, whatever the tag resolves to now.
    let stale = try await weightfs("pull --retry-for 0 --allow-stale \(name)")
    #expect(stale.status == 0 && stale.output.contains(digest), "\(stale.error)")
    #expect(stale.error.contains("does not answer"), "\(stale.error)")
    let read = try await weightfs("cat --retry-for 0 \(name) b.gguf | wc -c")
    #expect(read.output.contains("300000"), "a reader gets the cached bytes: \(read.error)")
  }

  @Test func twoProcessesFetchEachBlobOnce() async throws {
    async let first = weightfs("pull \(names)")
    async let second = weightfs("pull \(names)")
    for result in try await [first, second] { #expect(result.status == 0, "\(result.error)") }
    #expect(sent() == sizes)
    let verified = try await weightfs("verify --all")
    #expect(verified.status == 0, "\(verified.output)\(verified.error)")
    #expect(verified.output.components(separatedBy: "intact").count == 21)
  }

  @Test func whenOneIsKilledTheOtherSucceedsAndNothingWrongIsLeft() async throws {
    let kills = ProcessInfo.processInfo.environment["WEIGHTFS_KILLS"].flatMap { Int($0) } ?? 4
    let seed = UInt64.random(in: 0 ... .max)
    var generator = SeededGenerator(seed: seed)
    for round in 0..<kills {
      let root = "root\(round)"
      let delay = Int.random(in: 0...700, using: &generator)
      // `exec` replaces the shell, so that the signal kills the program.
      let victim = Task {
        try await Command.shell(
          "(exec \(WeightfsCommand.line("pull \(names)", in: folder, root: root))) & p=$!; sleep 0.\(String(format: "%03d", delay)); kill -9 $p 2>/dev/null; wait $p; true",
          environment: ["HOME": folder.path, "XDG_RUNTIME_DIR": folder.path]
        )
      }
      let other = try await weightfs("pull \(names)", root)
      _ = try await victim.value
      #expect(other.status == 0, "seed \(seed), round \(round): \(other.error)")
      let collected = try await weightfs("gc", root)
      #expect(collected.status == 0, "seed \(seed), round \(round): \(collected.error)")
      let verified = try await weightfs("verify --all --offline", root)
      #expect(verified.status == 0, "seed \(seed), round \(round): \(verified.output)\(verified.error)")
      #expect(
        verified.output.components(separatedBy: "intact\t").count == 21,
        "seed \(seed), round \(round): all is here: \(verified.output)"
      )
      let partial = folder.files().filter { $0.hasPrefix("\(root)/.weightfs/partial/sha256/") }
      #expect(partial.isEmpty, "seed \(seed), round \(round): \(partial)")
      try FileManager.default.removeItem(atPath: folder.path(root))
    }
  }
}
