import Content
import Foundation
import OCI
import Synchronization
import TestSupport
import Testing

/// Artifacts of a seeded generator with every command and a mount: no process crashes, hangs, uses too much
/// memory, writes outside of its root or prints a control character.
///
/// `WEIGHTFS_ARTIFACTS` and `WEIGHTFS_SEED` set the number and the first seed; a failure names its seed.
@Suite(.serialized) struct HostileArtifactTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  // A sanitizer delays reuse of freed memory, and needs additional memory for its records.
  private static let memoryLimit: Int64 =
    ProcessInfo.processInfo.environment["ASAN_OPTIONS"] == nil ? 256 << 20 : 2 << 30
  private static let statuses: Set<Int32> = [0, 1, 3, 4, 5, 6]

  private static func number(_ name: String) -> UInt64? {
    ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
  }
  private static let count = Int(number("WEIGHTFS_ARTIFACTS") ?? 30)
  private static let firstSeed = number("WEIGHTFS_SEED") ?? 20_260_901

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
  }

  /// Publishes the artifacts, each under a tag with its seed.
  private func publish() -> [(seed: UInt64, kind: String)] {
    (0..<Self.count).map { number in
      let seed = Self.firstSeed &+ UInt64(number)
      let artifact = HostileArtifact(seed: seed)
      for (digest, bytes) in artifact.blobs { registry.add(blob: bytes, as: digest) }
      registry.add(
        document: artifact.document.bytes,
        type: artifact.document.type,
        repository: "evil/a",
        tags: ["s\(seed)"]
      )
      return (seed, artifact.kind)
    }
  }

  /// Whether a text has characters that control a terminal or hide a name.
  private func steers(_ text: String) -> Bool {
    text.unicodeScalars.contains { scalar in
      switch scalar.value {
      case 0x09, 0x0a, 0x0d: false
      case 0..<0x20, 0x7f..<0xa0, 0x202a...0x202e, 0x2066...0x2069: true
      default: false
      }
    }
  }

  private func check(_ outcomes: [ProgramRuns.Outcome], _ statuses: Set<Int32>) {
    for outcome in outcomes {
      #expect(!outcome.isLate, "\(outcome.name) did not end")
      #expect(
        statuses.contains(outcome.status),
        "\(outcome.name): \(outcome.status) \(outcome.output.suffix(600))"
      )
      #expect(outcome.peakMemory <= Self.memoryLimit, "\(outcome.name): \(outcome.peakMemory >> 20) MiB")
      #expect(!steers(outcome.output), "\(outcome.name): \(outcome.output.debugDescription.prefix(600))")
    }
  }

  @Test func commandsEndAndStayWithinTheirRoot() async throws {
    let artifacts = publish()
    var runs: [(name: String, words: [String])] = []
    for (number, (seed, kind)) in artifacts.enumerated() {
      let name = "\(registry.host)/evil/a:s\(seed)"
      for words in [["inspect"], ["inspect", "--json"], ["ls"], ["pull"], ["path"], ["verify"], ["save"]] {
        let root = [
          "--registry-root", folder.path("roots/\(number % 16)"), "--timeout", "5", "--retry-for", "0",
        ]
        let more = words == ["save"] ? [folder.path("out/\(seed).tar")] : []
        let all = [MountProcess.program] + words + root + [name] + more
        runs.append(("seed \(seed) (\(kind)): \(words.joined(separator: " "))", all))
      }
    }
    try FileManager.default.createDirectory(atPath: folder.path("out"), withIntermediateDirectories: true)
    let home = ["HOME": folder.path("home"), "XDG_RUNTIME_DIR": folder.path("home")]
    check(try await ProgramRuns.measure(runs, in: folder, seconds: 60, environment: home), Self.statuses)
    #expect(Set(try FileManager.default.contentsOfDirectory(atPath: folder.path)) == ["roots", "out"])
    #expect(folder.files().filter { $0.contains("escaped") }.isEmpty)
  }

  @Test func theMountOutlivesThemAll() async throws {
    let artifacts = publish()
    let mount = try await MountProcess(folder, ["--fill", "demand", "--timeout", "5", "--retry-for", "0"])
    // Reads every name, attribute and first block.
    let look = """
      cd -- "$1" 2>/dev/null || exit 0
      ls -lR . >/dev/null 2>&1
      find . -type f -print0 2>/dev/null | head -z -n 20 | while IFS= read -r -d '' f; do
        head -c 4096 -- "$f" >/dev/null 2>&1; tail -c 100 -- "$f" >/dev/null 2>&1; done
      find . 2>/dev/null | head -n 20 | xargs -d '\\n' getfattr -d -m - -- >/dev/null 2>&1
      exit 0
      """
    let runs = artifacts.map { seed, kind in
      (
        name: "seed \(seed) (\(kind)): look",
        words: ["bash", "-c", look, "look", mount.path("\(registry.host)/evil/a:s\(seed)")]
      )
    }
    check(try await ProgramRuns.measure(runs, in: folder, seconds: 120), [0])
    #expect(kill(mount.process, 0) == 0, "the daemon died")
    #expect((mount.peakMemory ?? .max) <= Self.memoryLimit, "\((mount.peakMemory ?? 0) >> 20) MiB")
    #expect(!steers(mount.messages))
    try registry.add(files: ["good.gguf": Array("GGUF".utf8)], repository: "good/m", tag: "t")
    let good = try await Command.shell("cat '\(mount.path("\(registry.host)/good/m:t/good.gguf"))'")
    #expect(good.output == "GGUF", "\(good.error)")
  }

  @Test func faultsEndWithAnErrorOrTheRightBytes() async throws {
    let model = ModelFile.gguf(300_000, seed: 9)
    let digest = Verification.digest(of: model).hex
    let count = Int(Self.number("WEIGHTFS_FAULTS") ?? 30)
    let faults = (0..<count).map { RandomFault(seed: Self.firstSeed &+ UInt64($0)) }
    for number in 0..<count {
      try registry.add(files: ["model.gguf": model], repository: "fault/f\(number)", tag: "t")
    }
    let hits = Mutex([Int](repeating: 0, count: count))
    let registry = registry
    registry.setFault { request, _ in
      let parts = request.path.split(separator: "/")
      guard parts.count > 2, let number = Int(parts[2].dropFirst()), faults.indices.contains(number) else {
        return nil
      }
      let before = hits.withLock { $0[number] }
      let answer = faults[number].answer(request, truth: registry.truth(request), count: before)
      if answer != nil { hits.withLock { $0[number] += 1 } }
      return answer
    }
    func cat(_ number: Int, _ name: String) -> (name: String, words: [String]) {
      let root = "--registry-root '\(folder.path("roots/\(number)"))' --timeout 1 --retry-for 2"
      let line =
        "set -o pipefail; '\(MountProcess.program)' cat \(root) \(registry.host)/fault/f\(number):t model.gguf | sha256sum"
      return (name, ["bash", "-c", line])
    }
    let home = ["HOME": folder.path("home"), "XDG_RUNTIME_DIR": folder.path("home")]
    let first = try await ProgramRuns.measure(
      (0..<count).map { cat($0, faults[$0].name) },
      in: folder,
      seconds: 60,
      environment: home
    )
    check(first, Self.statuses)
    // A successful run has the model's bytes, regardless of the registry's faults.
    for outcome in first where outcome.status == 0 {
      #expect(outcome.output.contains(digest), "\(outcome.name)")
    }
    #expect(first.filter { $0.status != 0 }.count > count / 5, "the faults have an effect")
    #expect(first.filter { $0.status == 0 }.count > count / 10, "some runs succeed despite the faults")
    // No effect remains once the registry works again.
    registry.setFault(nil)
    let second = try await ProgramRuns.measure(
      (0..<count).map { cat($0, faults[$0].name) },
      in: folder,
      seconds: 60,
      environment: home
    )
    for outcome in second {
      #expect(outcome.status == 0 && outcome.output.contains(digest), "\(outcome.name): \(outcome.output)")
    }
  }
}
