import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Registries that are slow, stall, disappear or send invalid answers, through the kernel: other registries
/// are not affected, readers are answered, and the log describes each problem in few lines.
@Suite(.serialized) struct FaultTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private let model = ModelFile.gguf(20 << 20, seed: 71)

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": model], repository: "acme/m", tag: "t")
    try registry.add(files: ["good.bin": [1, 2, 3]], repository: "good/n", tag: "t")
  }

  private func path(_ mount: MountProcess, _ name: String = "acme/m:t/model.gguf") -> String {
    mount.path("\(registry.host)/\(name)")
  }

  @Test func aConnectionThatDripsHoldsNobody() async throws {
    let registry = registry
    let dripped = Flag()
    registry.setFault { request, _ in
      guard request.path.contains("/blobs/"), request.headers["range"] != nil, dripped.raise() else {
        return nil
      }
      var answer = registry.truth(request)
      answer.rate = 10
      return answer
    }
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let start = ContinuousClock.now
    let read = try await Command.shell(
      "dd if='\(path(mount))' bs=1 skip=9000000 count=1 2>/dev/null | od -An -tu1"
    )
    #expect(read.output.filter(\.isNumber) == "\(model[9_000_000])", "\(read.error)")
    #expect(ContinuousClock.now - start < .seconds(12))
    let told = mount.messages.split(separator: "\n").filter { $0.contains("a read waits for the network") }
    #expect(told.count == 1, "\(mount.messages)")
    #expect(told.first?.contains("model.gguf") ?? false)
    #expect(told.first?.contains("rate=") ?? false)
  }

  @Test func aListingThatItsDeadlineEndsIsToldOf() async throws {
    let registry = registry
    var tar = TarMaker()
    for number in 0..<40 { tar.add("member-\(number)", content: [UInt8](repeating: 7, count: 2 << 20)) }
    var layer = registry.add(blob: tar.finished)
    layer.mediaType = MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar")
    var config = registry.add(blob: Array("{}".utf8))
    config.mediaType = .imageConfig
    let manifest = Manifest(artifactType: nil, config: config, layers: [layer])
    registry.add(document: try JSONDocument.encode(manifest), repository: "acme/image", tags: ["t"])
    let digest = "\(layer.digest)"
    registry.setFault { request, _ in
      guard request.path.hasSuffix(digest), request.method == "GET" else { return nil }
      // Every request makes progress, but there are too many of them.
      var answer = registry.truth(request)
      answer.rate = 30_000
      return answer
    }
    let mount = try await MountProcess(folder, ["--timeout", "2", "--retry-for", "0", "--fill", "demand"])
    let start = ContinuousClock.now
    let listed = try await Command.shell("ls '\(mount.path("\(registry.host)/acme/image:t"))'")
    #expect(listed.error.contains("timed out"), "\(listed.error)")
    #expect(ContinuousClock.now - start < .seconds(30))
    let told = mount.messages.split(separator: "\n").filter { $0.contains("operation failed") }
    #expect(
      told.contains { $0.contains("acme/image:t") && $0.contains("no answer within 8 s") },
      "\(mount.messages)"
    )
  }

  @Test func aRegistryWithoutRangesIsAskedOnceForAllReaders() async throws {
    let model = model
    let digest = Verification.digest(of: model)
    registry.setFault { request, _ in
      request.path.hasSuffix(digest.hex) && request.method == "GET" ? .init(200, body: model) : nil
    }
    let mount = try await MountProcess(folder, [])
    let read = try await Command.shell(
      "for n in 1 2 3 4 5 6 7 8; do (dd if='\(path(mount))' bs=1M skip=$n 2>/dev/null | sha256sum) & done; wait",
      seconds: 60
    )
    #expect(read.status == 0)
    #expect(registry.blobRequests.filter { $0.path.hasSuffix(digest.hex) }.count == 1)
  }

  @Test func oneBadRepositoryDoesNotHurtTheOthersOfItsRegistry() async throws {
    let large = [UInt8](repeating: 0x20, count: 5 << 20)
    registry.setFault { request, _ in
      guard request.path.contains("/evil/") else { return nil }
      if request.path.contains("/loop/") { return .init(302, headers: [("Location", request.path)]) }
      if request.path.contains("/large/") { return .init(200, body: large) }
      var answer = HTTPServer.Answer(200, body: [1, 2, 3])
      answer.declaredLength = 100
      if request.path.contains("/stall/") { answer.stallAfter = 1 } else { answer.cutAfter = 1 }
      return answer
    }
    let mount = try await MountProcess(folder, ["--timeout", "2", "--retry-for", "4"])
    for kind in ["loop", "large", "broken", "stall"] {
      let start = ContinuousClock.now
      let bad = try await Command.shell("ls '\(path(mount, "evil/\(kind):t"))'")
      #expect(bad.status == 2, "\(kind): \(bad.output)")
      #expect(ContinuousClock.now - start < .seconds(20), "\(kind)")
      // A repository that was not read before, so that requests are needed.
      try registry.add(files: ["good.bin": Array(kind.utf8)], repository: "good/\(kind)", tag: "t")
      let good = try await Command.shell("cat '\(path(mount, "good/\(kind):t/good.bin"))'")
      #expect(good.output == kind, "\(kind): \(good.error)")
    }
  }

  @Test func anOutageOfFiveSecondsIsWaitedFor() async throws {
    let docker = try await DockerRegistry()
    try LayoutMaker.write(folder, "layout", layers: [LayoutMaker.file("model.gguf", model)])
    try await LayoutMaker.push(folder.path("layout"), to: "\(docker.host)/acme/m:t")
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let file = mount.path("\(docker.host)/acme/m:t/model.gguf")
    let script = """
      import mmap, sys
      with open(sys.argv[1], "rb") as file:
          data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
          print(data[100], flush=True)
          sys.stdin.readline()
          print(data[15_000_000])
      """
    try folder.write(Array(script.utf8), to: "map.py")
    let reader = Task {
      try await Command.shell("(sleep 1; echo) | python3 '\(folder.path("map.py"))' '\(file)'", seconds: 60)
    }
    #expect(await eventually { (try? docker.bytesSent()) ?? 0 > 0 })
    docker.stop()
    try await Task.sleep(for: .seconds(6))
    let again = try await DockerRegistry(folder: docker.folder, port: docker.port)
    let result = try await reader.value
    #expect(result.output == "\(model[100])\n\(model[15_000_000])\n", "\(result.error) \(mount.messages)")
    withExtendedLifetime(again) {}
  }

  @Test func twoThousandFailingReadsAreAFewLines() async throws {
    registry.setFault { request, _ in request.path.contains("/blobs/") ? .init(404) : nil }
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let script = """
      import os, sys
      file = os.open(sys.argv[1], os.O_RDONLY)
      failed = 0
      for number in range(2000):
          try:
              os.pread(file, 1, number * 4096)
          except OSError:
              failed += 1
      print(failed)
      """
    try folder.write(Array(script.utf8), to: "read.py")
    let result = try await Command.shell("python3 '\(folder.path("read.py"))' '\(path(mount))'", seconds: 120)
    #expect(result.output == "2000\n", "\(result.error)")
    let lines = mount.messages.split(separator: "\n")
    #expect(lines.count < 20, "\(lines.count) lines")
    #expect(lines.contains { $0.contains("model.gguf") && $0.contains("sha256:") }, "\(mount.messages)")
  }

  @Test func debugLogsShowEveryRequest() async throws {
    let mount = try await MountProcess(folder, ["--log-level", "debug"])
    _ = try await Command.shell("cat '\(path(mount, "good/n:t/good.bin"))'")
    let requests = mount.messages.split(separator: "\n").filter {
      $0.contains("\"a request\"") || $0.contains("a request")
    }
    #expect(
      requests.contains {
        $0.contains("method=HEAD") && $0.contains("path=/v2/good/n/manifests/t") && $0.contains("status=200")
          && $0.contains("time=")
      }
    )
  }
}
