import Content
import Foundation
import OCI
import TestSupport
import Testing

/// The requests that reads cause, through the kernel.
@Suite(.serialized) struct FetchTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func registry(
    _ name: String,
    _ bytes: [UInt8],
    _ annotations: [String: String] = [:]
  ) throws -> FaultyRegistry {
    let registry = try FaultyRegistry()
    try registry.add(files: [name: bytes], repository: "acme/m", tag: "t", annotations: annotations)
    try folder.write(bytes, to: "source")
    return registry
  }

  /// Returns the requested ranges of a blob, in order.
  private func ranges(_ registry: FaultyRegistry, _ bytes: [UInt8]) -> [Range<Int>] {
    let digest = Verification.digest(of: bytes).hex
    return registry.blobRequests.filter { $0.path.hasSuffix(digest) }.map {
      $0.range(size: bytes.count) ?? 0..<bytes.count
    }
  }

  private func python(
    _ script: String,
    _ arguments: [String],
    seconds: Int = 60
  ) async throws -> Command.Result {
    try folder.write(Array(script.utf8), to: "script.py")
    return try await Command.run(
      ["timeout", "-k", "5", "\(seconds)", "python3", folder.path("script.py")] + arguments
    )
  }

  @Test func aHeaderComesInThreeRequestsAndLittleBehindIt() async throws {
    let bytes = ModelFile.gguf(vocabulary: 200_000, tensors: [("a", 20 << 20), ("b", 20 << 20)])
    let header = bytes.count - 2 * (20 << 20)
    #expect(header > 4 << 20)
    let registry = try registry("model.gguf", bytes)
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let result = try await python(
      """
      import sys
      file = open(sys.argv[1], 'rb', buffering=65536)
      want = open(sys.argv[2], 'rb').read(int(sys.argv[3]))
      got = b''
      while len(got) < len(want): got += file.read(min(65536, len(want) - len(got)))
      assert got == want
      """,
      [mount.path("\(registry.host)/acme/m/t/model.gguf"), folder.path("source"), "\(header)"]
    )
    #expect(result.status == 0, "\(result.error)")
    let asked = ranges(registry, bytes)
    #expect(asked.count <= 3, "\(asked)")
    #expect(asked.reduce(0) { $0 + $1.count } <= header + 2 << 20, "\(asked)")
  }

  @Test func aScanOfHeadersFillsNothing() async throws {
    let bytes = ModelFile.gguf(vocabulary: 50_000, tensors: [("a", 20 << 20), ("b", 20 << 20)])
    let header = bytes.count - 2 * (20 << 20)
    let registry = try registry("model.gguf", bytes)
    let small = SeededGenerator.bytes(3 << 20, seed: 12)
    try registry.add(files: ["other.bin": small], repository: "acme/other", tag: "t")
    let mount = try await MountProcess(folder)
    let read = try await Command.shell(
      "head -c \(header) '\(mount.path("\(registry.host)/acme/m/t/model.gguf"))' | cmp - <(head -c \(header) '\(folder.path("source"))')"
    )
    #expect(read.status == 0, "\(read.error)")
    // A background fill would have begun with the read, long before the other model is fetched.
    let other = try await Command.shell(
      "cat '\(mount.path("\(registry.host)/acme/other/t/other.bin"))' | wc -c"
    )
    #expect(other.output == "\(small.count)\n")
    #expect(
      ranges(registry, bytes).reduce(0) { $0 + $1.count } <= header + 2 << 20,
      "\(ranges(registry, bytes))"
    )
  }

  @Test func oneTensorCostsItselfAndItsHeader() async throws {
    let bytes = ModelFile.safetensors([("a", 14 << 20), ("b", 14 << 20), ("c", 14 << 20)])
    let header = bytes.count - 3 * (14 << 20)
    let registry = try registry("model.safetensors", bytes)
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let result = try await python(
      """
      import json, mmap, os, struct, sys
      fd = os.open(sys.argv[1], os.O_RDONLY)
      size = struct.unpack('<Q', os.pread(fd, 8, 0))[0]
      header = json.loads(os.pread(fd, size, 8))
      first, end = header['b']['data_offsets']
      view = mmap.mmap(fd, os.fstat(fd).st_size, prot=mmap.PROT_READ)
      want = open(sys.argv[2], 'rb').read()
      assert view[8 + size + first:8 + size + end] == want[8 + size + first:8 + size + end]
      """,
      [mount.path("\(registry.host)/acme/m/t/model.safetensors"), folder.path("source")]
    )
    #expect(result.status == 0, "\(result.error)")
    let fetched = ranges(registry, bytes).reduce(0) { $0 + $1.count }
    #expect(Double(fetched) <= 1.12 * Double(header + 14 << 20), "\(ranges(registry, bytes))")
  }

  @Test func prefetchBringsTheTensorsThatAreNamed() async throws {
    let bytes = ModelFile.safetensors([("model.a", 6 << 20), ("model.b", 6 << 20), ("head", 6 << 20)])
    let registry = try registry("model.safetensors", bytes)
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let reference = "\(registry.host)/acme/m:t"
    let prefetch = [MountProcess.program, "prefetch", reference, "--registry-root", mount.root]
    let named = try await Command.run(prefetch + ["--tensors", "model.b"])
    #expect(named.status == 0, "\(named.error)")
    let fetched = ranges(registry, bytes).reduce(0) { $0 + $1.count }
    #expect((6 << 20...(6 << 20) + (400 << 10)).contains(fetched), "\(ranges(registry, bytes))")
    registry.server.forgetRequests()
    // A mount of the same root uses them.
    let read = try await Command.shell(
      "dd if='\(mount.path("\(registry.host)/acme/m/t/model.safetensors"))' bs=1M skip=7 count=4 status=none | sha256sum"
    )
    #expect(read.output.hasPrefix(Verification.digest(of: Array(bytes[(7 << 20)..<(11 << 20)])).hex))
    #expect(ranges(registry, bytes).isEmpty, "\(ranges(registry, bytes))")
    let nothing = try await Command.run(prefetch + ["--tensors", "nosuch*"])
    #expect(nothing.status == 3)
    #expect(nothing.error.contains("no tensor matches nosuch*"))
    let noFile = try await Command.run(prefetch + ["--include", "*.gguf"])
    #expect(noFile.status == 3)
    let all = try await Command.run(prefetch + ["--include", "*.safetensors"])
    #expect(all.status == 0, "\(all.error)")
    #expect(folder.has("root/.weightfs/blobs/sha256/\(Verification.digest(of: bytes).hex)"))
  }

  @Test func aRecordedStartIsFetchedInItsOrderByTheNext() async throws {
    let bytes = SeededGenerator.bytes(40 << 20, seed: 31)
    let registry = try registry("model.bin", bytes)
    let reference = "\(registry.host)/acme/m:t"
    let path = "\(registry.host)/acme/m/t/model.bin"
    let digest = Verification.digest(of: bytes).hex
    func weightfs(_ words: String...) async throws -> Command.Result {
      try await Command.run(
        [MountProcess.program, "profile"] + words + ["--registry-root", folder.path("root")]
      )
    }
    #expect(try await weightfs("show", reference).status == 3)
    #expect(try await weightfs("record", reference).status == 0)
    let first = try await MountProcess(folder, name: "first", ["--fill", "demand"])
    // A start that reads the end, the middle, the beginning.
    let start = try await Command.shell(
      """
      for at in 36 20 5; do dd if='\(first.path(path))' of=/dev/null bs=1M skip=$at count=2 status=none; done
      for i in $(seq 200); do '\(MountProcess.program)' profile show --runs '\(reference)' --registry-root '\(first.root)' \
        | grep -q '^  5242880-' && break; sleep 0.05; done
      """
    )
    #expect(start.status == 0, "\(start.error)")
    let shown = try await weightfs("show", "--runs", reference)
    let runs = shown.output.split(separator: "\n").filter { $0.hasPrefix("  ") }.map {
      $0.trimmingCharacters(in: .whitespaces)
    }
    let starts = runs.compactMap { $0.split(separator: "-").first }.compactMap { Int($0) }
    let order = [36 << 20, 20 << 20, 5 << 20]
    #expect(Array(starts.prefix(3)) == order, "\(shown.output)")
    #expect(try await weightfs("record", "--stop", reference).status == 0)
    try await first.crash()
    for kind in ["partial", "blobs"] {
      _ = try await Command.shell("rm -f '\(folder.path("root/.weightfs/\(kind)/sha256/\(digest)"))'*")
    }
    registry.server.forgetRequests()
    let second = try await MountProcess(folder, name: "second", ["--fill", "demand"])
    // An open without a read is sufficient.
    _ = try await Command.shell("exec 9<'\(second.path(path))'; sleep 2")
    #expect(await eventually { ranges(registry, bytes).count >= 3 })
    let asked = ranges(registry, bytes)
    // Two requests are in flight at once, so neighbors may arrive in another order.
    #expect(Set(asked.map(\.lowerBound).prefix(3)) == Set(order), "\(asked)")
    #expect(asked.prefix(2).contains { $0.lowerBound == order[0] }, "\(asked)")
    #expect(asked.reduce(0) { $0 + $1.count } < 10 << 20)
  }

  @Test(arguments: ["sequential", "random"])
  func aRegistryThatFlipsBitsIsCaughtChunkByChunk(_ mode: String) async throws {
    let bytes = SeededGenerator.bytes(48 << 20 | 99, seed: 32)
    var digests: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 1 << 20) {
      digests += Verification.digest(of: Array(bytes[start..<min(start + 1 << 20, bytes.count)])).bytes
    }
    let list = Verification.digest(of: digests)
    let registry = try registry(
      "model.bin",
      bytes,
      ["dev.weightfs.chunks.digest": "\(list)", "dev.weightfs.chunks.size": "\(1 << 20)"]
    )
    registry.add(blob: digests)
    let digest = Verification.digest(of: bytes).hex
    registry.setFault { request, number in
      // Sequential reading needs few requests: half of the large ones are wrong, but none that fetches a
      // chunk again.
      let isLarge = request.range(size: bytes.count)?.count ?? 0 > 1 << 20
      guard request.path.hasSuffix(digest),
        mode == "random" ? number.isMultiple(of: 50) : isLarge && number.isMultiple(of: 2)
      else { return nil }
      var answer = registry.truth(request)
      answer.body[answer.body.count / 2] ^= 4
      return answer
    }
    let mount = try await MountProcess(
      folder,
      ["--fill", mode == "random" ? "demand" : "background", "--verify", "strict"]
    )
    let path = "\(registry.host)/acme/m/t/model.bin"
    let result = try await python(
      """
      import os, random, sys
      fd = os.open(sys.argv[1], os.O_RDONLY)
      want = open(sys.argv[2], 'rb').read()
      chance = random.Random(3)
      spots = [chance.randrange(len(want)) for _ in range(300)] if sys.argv[3] == 'random' else range(0, len(want), 1 << 20)
      for spot in spots:
          got = os.pread(fd, 1 << 20 if sys.argv[3] != 'random' else 4096, spot)
          assert got == want[spot:spot + len(got)] and got, spot
      """,
      [mount.path(path), folder.path("source"), mode]
    )
    #expect(result.status == 0, "\(result.error)\(mount.messages)")
    let whole = try await Command.shell("sha256sum <'\(mount.path(path))'")
    #expect(whole.output.hasPrefix(digest))
    #expect(
      await (try? eventually { try await mount.attribute("verified", of: path) == "blob" }) == true,
      "\(mount.messages)"
    )
    let kept = Array(
      try Data(contentsOf: URL(filePath: folder.path("root/.weightfs/blobs/sha256/\(digest)")))
    )
    #expect(Verification.digest(of: kept).hex == digest)
    #expect(mount.messages.contains("a chunk turned out wrong"), "no bit was flipped")
  }
}
