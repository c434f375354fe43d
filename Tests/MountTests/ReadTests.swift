import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Bytes read through the kernel: cold, in any order, and during faults.
@Suite(.serialized) struct ReadTests {
  private let folder: TemporaryFolder
  private static let size = 48 << 20 | 4321
  private static let bytes = SeededGenerator.bytes(size, seed: 77)

  init() throws {
    folder = try TemporaryFolder()
    try folder.write(Self.bytes, to: "source")
  }

  private func registry() throws -> FaultyRegistry {
    let registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": Self.bytes], repository: "acme/m", tag: "t")
    return registry
  }

  private func file(_ registry: FaultyRegistry) -> String { "\(registry.host)/acme/m/t/model.gguf" }

  /// Runs a reader as a separate process: `mode`, the file, the source.
  private func read(
    _ mode: String,
    _ mount: MountProcess,
    _ path: String,
    seconds: Int = 60
  ) async throws -> Command.Result {
    let script = """
      import mmap, os, random, sys
      mode, path, source = sys.argv[1:4]
      want = open(source, 'rb').read()
      fd = os.open(path, os.O_RDONLY)
      size = os.fstat(fd).st_size
      assert size == len(want), (size, len(want))
      if mode == 'mmap':
          view = mmap.mmap(fd, size, prot=mmap.PROT_READ)
          spots = list(range(0, size, 4096)); random.Random(5).shuffle(spots)
          for spot in spots:
              assert view[spot:spot + 4096] == want[spot:spot + 4096], spot
      elif mode == 'backwards':
          end = size
          while end > 0:
              start = max(0, end - 100_000)
              assert os.pread(fd, end - start, start) == want[start:end], start
              end = start
      elif mode == 'random':
          chance = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
          for _ in range(400):
              start = chance.randrange(size)
              assert os.pread(fd, 4096, start) == want[start:start + 4096], start
      else:
          position = 0
          while position < size:
              piece = os.pread(fd, 1 << 20, position)
              assert piece == want[position:position + len(piece)] and piece, position
              position += len(piece)
      """
    try folder.write(Array(script.utf8), to: "read.py")
    return try await Command.run([
      "timeout", "-k", "5", "\(seconds)", "python3", folder.path("read.py"), mode, mount.path(path),
      folder.path("source"),
    ])
  }

  /// Returns the bytes of the model that the registry sent, and the highest number of times that a block was
  /// sent.
  private func sent(_ registry: FaultyRegistry) -> (bytes: Int, most: Int) {
    var counts = [Int](repeating: 0, count: Self.size / 65_536 + 1)
    var bytes = 0
    for request in registry.blobRequests {
      let range = request.range(size: Self.size) ?? 0..<Self.size
      // The config is a blob too.
      guard request.path.hasSuffix(Verification.digest(of: Self.bytes).hex) else { continue }
      bytes += range.count
      for block in range.lowerBound / 65_536...(range.upperBound - 1) / 65_536 { counts[block] += 1 }
    }
    return (bytes, counts.max() ?? 0)
  }

  /// Returns the bytes of the model that were received according to the log of a daemon, and the highest
  /// number of times that a block of 64 KiB was received.
  ///
  /// A request that is cut in favor of a distant reader delivers less than it requested, so requests alone
  /// are not sufficient.
  private func received(_ log: String) throws -> (bytes: Int, most: Int, ranges: [Range<Int>]) {
    func field(_ name: String, _ line: Substring) -> Substring? {
      line.split(separator: " ").first { $0.hasPrefix("\(name)=") }?.dropFirst(name.count + 1)
    }
    let path = Verification.digest(of: Self.bytes).hex
    let ranges = try log.split(separator: "\n").filter { $0.contains("a request") && $0.contains(path) }.map {
      let start = field("range", $0)?.split(separator: "-").first.flatMap { Int($0) } ?? 0
      return start..<start + (try #require(field("bytes", $0).flatMap { Int($0) }))
    }
    var counts = [Int](repeating: 0, count: Self.size / 65_536 + 1)
    for range in ranges {
      // Some bytes after a cut arrive before the connection is closed: an incomplete block is not kept.
      let end = range.upperBound >= Self.size ? counts.count : range.upperBound / 65_536
      for block in (range.lowerBound / 65_536)..<max(range.lowerBound / 65_536, end) { counts[block] += 1 }
    }
    return (ranges.map(\.count).reduce(0, +), counts.max() ?? 0, ranges)
  }

  @Test(arguments: ["mmap", "backwards", "random", "sequential"])
  func coldReadsAreRightAndEachChunkIsFetchedOnce(_ mode: String) async throws {
    let registry = try registry()
    let fill = mode == "random" ? "demand" : "background"
    let mount = try await MountProcess(folder, ["--fill", fill, "--log-level", "debug"])
    let result = try await read(mode, mount, file(registry))
    #expect(result.status == 0, "\(result.error)")
    // The last requests are logged when they end.
    #expect(await mount.unmount())
    let received = try received(mount.messages)
    #expect(received.most == 1, "\(received.ranges)")
    #expect(received.bytes <= Self.size + received.ranges.count * 65_536, "\(received.ranges)")
    #expect(mode == "random" || received.bytes >= Self.size)
  }

  @Test func sixteenProcessesReadAtOnce() async throws {
    let registry = try registry()
    let mount = try await MountProcess(folder)
    let path = file(registry)
    let modes = ["sequential", "random", "backwards", "mmap"]
    try await withThrowingTaskGroup(of: Command.Result.self) { group in
      for reader in 0..<16 {
        group.addTask { try await self.read(modes[reader % 4], mount, path, seconds: 100) }
      }
      for try await result in group { #expect(result.status == 0, "\(result.error)") }
    }
    // A request that is cut in favor of a distant reader requested more than it delivered.
    #expect(sent(registry).bytes <= Self.size * 3 / 2, "\(sent(registry))")
    #expect(await (try? eventually { try await mount.attribute("state", of: path) == "complete" }) == true)
    #expect(try await mount.attribute("verified", of: path) == "blob")
  }

  @Test func attributesTellRemotePartialAndComplete() async throws {
    let registry = try registry()
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let path = file(registry)
    #expect(try await mount.attribute("state", of: path) == "remote")
    _ = try await Command.shell("head -c 4 '\(mount.path(path))'")
    #expect(try await mount.attribute("state", of: path) == "partial")
    let cached = Int(try await mount.attribute("cached_bytes", of: path)) ?? 0
    #expect((65_536...2 << 20).contains(cached))
    #expect(cached == sent(registry).bytes)
    _ = try await read("sequential", mount, path)
    #expect(await (try? eventually { try await mount.attribute("state", of: path) == "complete" }) == true)
    #expect(try await mount.attribute("digest", of: path) == "\(Verification.digest(of: Self.bytes))")
  }

  @Test func aRegistryThatGoesAwayIsAnErrorInTimeAndLaterReadsGoOn() async throws {
    let docker = try await DockerRegistry()
    try LayoutMaker.write(folder, "layout", layers: [LayoutMaker.file("model.gguf", Self.bytes)])
    try await LayoutMaker.push(folder.path("layout"), to: "\(docker.host)/acme/m:t")
    let mount = try await MountProcess(folder, ["--fill", "demand", "--timeout", "3", "--retry-for", "5"])
    let path = "\(docker.host)/acme/m:t/model.gguf"
    let first = try await Command.shell("head -c 1000000 '\(mount.path(path))' | sha256sum")
    #expect(first.status == 0)
    let sentBefore = try docker.bytesSent()
    docker.stop()
    let start = ContinuousClock.now
    let second = try await Command.shell(
      "dd if='\(mount.path(path))' of=/dev/null bs=4096 skip=8000 count=1",
      seconds: 50
    )
    #expect(second.status != 0)
    #expect(
      second.error.contains("Input/output error") || second.error.contains("timed out"),
      "\(second.error)"
    )
    #expect(ContinuousClock.now - start < .seconds(20))
    let again = try await DockerRegistry(folder: docker.folder, port: docker.port)
    let third = try await read("sequential", mount, path)
    #expect(third.status == 0, "\(third.error)")
    // Only missing bytes were fetched, plus two bytes of the config. Requests in flight when the registry
    // died are not in
    // its log.
    let sent = sentBefore + (try again.bytesSent())
    #expect(sent <= Self.size + 65_536, "\(sent) of \(Self.size)")
    #expect(sentBefore > 0)
    #expect(await (try? eventually { try await mount.attribute("state", of: path) == "complete" }) == true)
  }

  @Test func aBlobThatIsRemovedUnderTheMountIsFetchedAgain() async throws {
    let registry = try registry()
    let mount = try await MountProcess(folder)
    let path = file(registry)
    #expect(try await read("sequential", mount, path).status == 0)
    #expect(await (try? eventually { try await mount.attribute("state", of: path) == "complete" }) == true)
    // An open descriptor keeps the old file, a new open gets a new one; the program does not see ESTALE.
    let digest = Verification.digest(of: Self.bytes).hex
    let result = try await Command.shell(
      """
      exec 9<'\(mount.path(path))'
      find '\(mount.root)' -name \(digest) -delete; echo 3 >/proc/sys/vm/drop_caches
      sha256sum <'\(mount.path(path))'; sha256sum <&9
      """
    )
    #expect(result.output == "\(digest)  -\n\(digest)  -\n", "\(result.error)\(mount.messages)")
    #expect(sent(registry).most == 2)
  }

  @Test func aProgramWithATimerIsNotDisturbed() async throws {
    let registry = try registry()
    registry.setFault { request, number in
      // Slow enough for some dozen signals to arrive during a wait.
      if request.path.contains("/blobs/") { usleep(300_000) }
      return nil
    }
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    // perl does not retry: EINTR of open or read would be visible. Several signals during one call count as
    // one.
    let result = try await Command.shell(
      #"""
      perl -MTime::HiRes=setitimer,ITIMER_REAL -MPOSIX -e '
        POSIX::sigaction(SIGALRM, POSIX::SigAction->new(sub { $n++ }, POSIX::SigSet->new, SA_RESTART));
        POSIX::sigprocmask(SIG_UNBLOCK, POSIX::SigSet->new(SIGALRM));
        setitimer(ITIMER_REAL, 0.01, 0.01);
        for my $at (0, 9_000_000, 30_000_000) {
          my $fd = POSIX::open($ARGV[0], O_RDONLY) // die "open: $!";
          POSIX::lseek($fd, $at, SEEK_SET);
          my $got = POSIX::read($fd, my $bytes, 4096) // die "read: $!";
          die "short" unless $got == 4096;
          POSIX::close($fd);
        }
        print $n > 0 ? "signals came\n" : "no signals\n"' '\#(mount.path(file(registry)))'
      """#
    )
    #expect(result.output == "signals came\n", "\(result.error)")
  }

  @Test func aStalledPeerEndsTheReadByTheDeadline() async throws {
    let registry = try registry()
    registry.setFault { request, _ in
      guard request.path.contains("/blobs/"), request.range(size: Self.size)?.lowerBound ?? 0 > 20 << 20
      else { return nil }
      var answer = registry.truth(request)
      answer.stallAfter = 100
      return answer
    }
    let mount = try await MountProcess(folder, ["--fill", "demand", "--timeout", "2"])
    let start = ContinuousClock.now
    let result = try await Command.shell(
      "dd if='\(mount.path(file(registry)))' of=/dev/null bs=4096 skip=10000 count=1",
      seconds: 40
    )
    #expect(result.status != 0)
    #expect(ContinuousClock.now - start < .seconds(12), "\(ContinuousClock.now - start)")
    #expect(
      try await Command.shell("head -c 100000 '\(mount.path(file(registry)))' | wc -c").output == "100000\n"
    )
  }

  @Test func aReaderThatIsKilledDies() async throws {
    let registry = try registry()
    registry.setFault { request, _ in
      guard request.path.contains("/blobs/") else { return nil }
      var answer = registry.truth(request)
      answer.stallAfter = 0
      return answer
    }
    let mount = try await MountProcess(folder, ["--timeout", "60"])
    let start = ContinuousClock.now
    let result = try await Command.shell(
      "timeout -k 1 2 cat '\(mount.path(file(registry)))'; echo $?",
      seconds: 30
    )
    #expect(["124\n", "137\n"].contains(result.output))
    #expect(ContinuousClock.now - start < .seconds(10), "\(ContinuousClock.now - start)")
  }

  @Test func wrongBytesAreNeverKeptAndNeverServedFromTheCacheAfterwards() async throws {
    let registry = try registry()
    let wrong = Wrongness(Self.bytes)
    registry.setFault { request, _ in wrong.isOn ? wrong.answer(request) : nil }
    let mount = try await MountProcess(folder)
    let path = file(registry)
    // The wrong page is read, and stays in the kernel's cache.
    let first = try await Command.shell(
      "dd if='\(mount.path(path))' bs=4096 skip=1000 count=1 status=none | sha256sum; exec 9<'\(mount.path(path))'; sleep 4; dd bs=4096 skip=1000 count=1 status=none <&9 | sha256sum",
      seconds: 60
    )
    _ = first
    #expect(await eventually { mount.messages.contains("turned out wrong") }, "\(mount.messages)")
    let right = Verification.digest(of: Array(Self.bytes[1000 * 4096..<1001 * 4096])).hex
    for _ in 0..<5 {
      let again = try await Command.shell(
        "dd if='\(mount.path(path))' bs=4096 skip=1000 count=1 status=none | sha256sum"
      )
      let empty = Verification.digest(of: []).hex
      #expect(again.output.hasPrefix(right) || again.output.hasPrefix(empty), "wrong bytes from the cache")
    }
    #expect(!folder.has("root/.weightfs/blobs/sha256/\(Verification.digest(of: Self.bytes).hex)"))
  }

  @Test func strictNeverReturnsAWrongByte() async throws {
    let registry = try registry()
    let wrong = Wrongness(Self.bytes)
    registry.setFault { request, _ in wrong.answer(request) }
    let mount = try await MountProcess(folder, ["--verify", "strict"])
    let result = try await Command.shell("cat '\(mount.path(file(registry)))' | wc -c", seconds: 60)
    #expect(result.output == "0\n")
    #expect(result.error.contains("Input/output error"))
  }

  @Test func aHostWithoutRangesIsStreamedOnce() async throws {
    let registry = try registry()
    registry.setFault { request, _ in
      request.path.hasSuffix(Verification.digest(of: Self.bytes).hex) ? .init(200, body: Self.bytes) : nil
    }
    let mount = try await MountProcess(folder)
    let result = try await read("backwards", mount, file(registry))
    #expect(result.status == 0, "\(result.error)")
    #expect(registry.blobRequests.count { $0.path.hasSuffix(Verification.digest(of: Self.bytes).hex) } == 1)
  }

  @Test func cutsTokensAndLimitsInMidReadAreNotNoticed() async throws {
    let registry = try registry()
    registry.setFault { request, number in
      guard request.path.contains("/blobs/") else { return nil }
      switch number % 5 {
      case 0:
        var answer = registry.truth(request)
        answer.cutAfter = 300_000
        return answer
      case 1: return .init(503)
      case 2: return .init(429, headers: [("Retry-After", "0")])
      default: return nil
      }
    }
    let mount = try await MountProcess(folder)
    let result = try await read("sequential", mount, file(registry), seconds: 100)
    #expect(result.status == 0, "\(result.error)")
  }
}

/// The bytes of a registry with one wrong byte.
private struct Wrongness {
  private let bytes: [UInt8]
  let isOn = true

  init(_ bytes: [UInt8]) {
    var bytes = bytes
    bytes[1000 * 4096 + 7] ^= 0xff
    self.bytes = bytes
  }

  func answer(_ request: HTTPServer.Request) -> HTTPServer.Answer? {
    guard request.path.contains("/blobs/"), let range = request.range(size: bytes.count) else { return nil }
    return .init(
      206,
      headers: [("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(bytes.count)")],
      body: Array(bytes[range])
    )
  }
}
