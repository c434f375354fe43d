import Content
import Foundation
import OCI
import TestSupport
import Testing

/// `verify` and its repairs.
@Suite(.serialized) struct RepairTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private let model = SeededGenerator.bytes(20 << 20, seed: 81)

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": model], repository: "acme/m", tag: "t")
  }

  private var name: String { "\(registry.host)/acme/m:t" }
  private var hex: String { Verification.digest(of: model).hex }
  private var blob: String { "root/.weightfs/blobs/sha256/\(hex)" }
  private var place: String { "root/\(registry.host.replacingOccurrences(of: ":", with: "__"))/acme/m/__t" }

  private func weightfs(_ words: String) async throws -> Command.Result {
    try await WeightfsCommand.run(words, in: folder)
  }

  @discardableResult
  private func run(_ words: String) async throws -> String {
    let result = try await weightfs(words)
    try #require(result.status == 0, "\(words): \(result.output)\(result.error)")
    return result.output
  }

  /// Inverts a byte like bit rot: neither size nor modification time changes.
  private func flip(_ path: String, at offset: Int) async throws {
    let file = folder.path(path)
    let script =
      "import os,sys;p='\(file)';s=os.stat(p);f=open(p,'r+b');f.seek(\(offset));b=f.read(1)[0];f.seek(\(offset));f.write(bytes([b^1]));f.close();os.utime(p,ns=(s.st_atime_ns,s.st_mtime_ns))"
    let result = try await Command.shell("python3 -c \"\(script)\"")
    try #require(result.status == 0, "\(result.error)")
  }

  private func fetched() -> Int {
    registry.blobRequests.filter { $0.path.hasSuffix(hex) }.reduce(0) {
      $0 + ($1.range(size: model.count)?.count ?? model.count)
    }
  }

  @Test func oneWrongByteIsNamedByItsChunkAndCostsLittle() async throws {
    try await run("pull \(name)")
    #expect(try await run("verify \(name)").contains("intact"))
    try await flip(blob, at: 7_000_000)
    let found = try await weightfs("verify --all")
    #expect(found.status == 6)
    #expect(found.output.contains("bytes 6291456-7340031 are wrong"), "\(found.output)")
    registry.server.forgetRequests()
    #expect(try await run("verify --repair \(name)").contains("intact, repaired"))
    #expect((1...2 << 20).contains(fetched()), "\(fetched()) bytes")
    #expect(try folder.read(blob) == model)
    #expect(try folder.read("\(place)/blobs/sha256/\(hex)") == model, "the layout has it again")
    #expect(try await run("verify --all").contains("intact"))
  }

  @Test func whatCannotBeMendedIsMovedAsideAndNotServed() async throws {
    try await run("pull \(name)")
    try await flip(blob, at: 100)
    let offline = try await weightfs("verify --offline --repair \(name)")
    #expect(offline.status == 6 && offline.error.contains("moved aside"), "\(offline.error)")
    #expect(!folder.has(blob) && !folder.has("\(place)/blobs/sha256/\(hex)"))
    #expect(folder.has("root/.weightfs/bad/sha256-\(hex)"), "the intact bytes can be saved")
    #expect(try await weightfs("cat --offline \(name) model.gguf >/dev/null").status != 0)
    #expect(try await run("cat \(name) model.gguf | sha256sum").hasPrefix(hex), "it is fetched again")
  }

  @Test func aTruncatedBlobIsMendedAtItsEnd() async throws {
    try await run("pull \(name)")
    let cut = try await Command.shell("truncate -s 18M '\(folder.path(blob))'")
    try #require(cut.status == 0, "\(cut.error)")
    registry.server.forgetRequests()
    #expect(try await run("verify --repair \(name)").contains("intact, repaired"))
    #expect(fetched() <= 3 << 20, "\(fetched()) bytes")
    #expect(try folder.read(blob) == model)
  }

  @Test func aDamagedArchiveIsWrittenAnew() async throws {
    try await run("pull --format oci-archive \(name)")
    #expect(try await run("verify \(name)").contains("intact"))
    let clean = Verification.digest(of: try folder.read("\(place).ommx"))
    try await flip("\(place).ommx", at: 9_000_000)
    registry.server.forgetRequests()
    let found = try await weightfs("verify \(name)")
    #expect(found.status == 6 && found.output.contains("are wrong"), "\(found.output)")
    let refused = try await weightfs("cat --offline \(name) model.gguf >/dev/null")
    #expect(refused.status == 6, "known to be wrong: \(refused.error)")
    #expect(try await run("verify --repair \(name)").contains("intact, repaired"))
    #expect(fetched() <= 2 << 20, "\(fetched()) bytes")
    #expect(Verification.digest(of: try folder.read("\(place).ommx")) == clean)
    #expect(!folder.has(blob))
  }

  @Test func aRateIsKept() async throws {
    try await run("pull \(name)")
    let start = ContinuousClock.now
    try await run("verify --rate 10M \(name)")
    let time = ContinuousClock.now - start
    #expect(time > .milliseconds(1700) && time < .seconds(20), "20 MiB at 10 MiB/s took \(time)")
  }

  @Test func aRunningMountServesTheMendedBytes() async throws {
    let mount = try await MountProcess(folder)
    let file = mount.path("\(name)/model.gguf")
    _ = try await Command.shell("cat '\(file)' >/dev/null")
    #expect(await eventually { folder.has(blob) })
    try await flip(blob, at: 7_000_000)
    try await run("verify --repair \(name)")
    _ = try await Command.shell("sync; echo 1 >/proc/sys/vm/drop_caches")
    #expect(try await Command.shell("sha256sum <'\(file)'").output.hasPrefix(hex), "\(mount.messages)")
  }

  @Test func whatVerifyFoundIsNotServedBeforeItIsMended() async throws {
    try await run("pull \(name)")
    try await flip(blob, at: 7_000_000)
    #expect(try await weightfs("verify \(name)").status == 6)
    #expect(try await run("cat \(name) model.gguf | sha256sum").hasPrefix(hex), "it is set aside and fetched")
  }

  @Test func everyArtifactOfADamagedBlobIsNamedAndOneSourceMendsAll() async throws {
    try await run("pull \(name)")
    try await run("tag \(name) localhost:1/a/one:1")
    try await run("tag \(name) localhost:1/z/two:1")
    try await flip(blob, at: 7_000_000)
    let found = try await weightfs("verify --all")
    #expect(found.output.components(separatedBy: "\tdamaged\t").count == 4, "\(found.output)")
    // Its own registry has no blobs; the registry of the artifact it was tagged from has them.
    #expect(try await run("verify --retry-for 2 --repair localhost:1/a/one:1").contains("intact, repaired"))
    #expect(try await run("verify --all").components(separatedBy: "intact").count == 4)
  }

  @Test func anArtifactThatLacksBlobsForGoodIsNotRight() async throws {
    try await run("pull \(name)")
    try await run("tag \(name) localhost:1/a/one:1")
    try await run("rm \(name)")
    try FileManager.default.removeItem(atPath: folder.path(blob))
    try FileManager.default.removeItem(atPath: folder.path("root/localhost__1/a/one/__1/blobs/sha256/\(hex)"))
    let lacking = try await weightfs("verify localhost:1/a/one:1")
    #expect(lacking.status == 6 && lacking.output.contains("lacks 1 of its blobs"), "\(lacking.output)")
  }
}
