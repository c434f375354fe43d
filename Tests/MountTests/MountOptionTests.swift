import Content
import Dispatch
import Foundation
import TestSupport
import OCI
import Testing

/// Options of `mount` that only the daemon can keep to: each is shown by what a program sees of it.
@Suite(.serialized) struct MountOptionTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
  }

  private func list(_ mount: MountProcess, _ name: String) async throws -> Command.Result {
    try await Command.shell("ls '\(mount.path("\(registry.host)/\(name)"))'")
  }

  // MARK: --min-rate

  /// A blob of five seconds.
  private func addTrickle() throws -> [UInt8] {
    let bytes = SeededGenerator.bytes(100_000, seed: 5)
    try registry.add(files: ["weights.bin": bytes], repository: "acme/trickle", tag: "t")
    let registry = registry
    registry.setFault { request, _ in
      guard request.path.contains("/blobs/"), request.method == "GET" else { return nil }
      var answer = registry.truth(request)
      answer.rate = 20_000
      return answer
    }
    return bytes
  }

  @Test func aTrickleBelowTheMinimumRateEnds() async throws {
    _ = try addTrickle()
    let options = ["--min-rate", "64K", "--timeout", "2", "--retry-for", "2"]
    let mount = try await MountProcess(folder, options)
    let path = mount.path("\(registry.host)/acme/trickle:t/weights.bin")
    let read = try await Command.shell("sha256sum <'\(path)'")
    #expect(read.error.contains("timed out"), "\(read.output)\(read.error)")
    #expect(mount.messages.contains("less than 65536 bytes per second for 2.0 seconds"), "\(mount.messages)")
    let cat = try await WeightfsCommand.run(
      "cat \(options.joined(separator: " ")) \(registry.host)/acme/trickle:t weights.bin",
      in: folder,
      root: "own"
    )
    #expect(cat.status == 5 && cat.output.isEmpty, "\(cat.status) \(cat.error)")
  }

  @Test func aTrickleAboveTheMinimumRateIsWaitedForLongerThanTheTimeout() async throws {
    let bytes = try addTrickle()
    let mount = try await MountProcess(folder, ["--min-rate", "1K", "--timeout", "2", "--retry-for", "2"])
    let path = mount.path("\(registry.host)/acme/trickle:t/weights.bin")
    let read = try await Command.shell("sha256sum <'\(path)'")
    #expect(read.output.hasPrefix(Verification.digest(of: bytes).hex), "\(read.error)\(mount.messages)")
  }

  @Test(arguments: ["0", "2G", "-1", "fast"])
  func aRateThatCannotBeIsWrongUsage(_ rate: String) async throws {
    let result = try await WeightfsCommand.run("mount '--min-rate=\(rate)' '\(folder.path)'", in: folder)
    #expect(result.status == 64 && result.error.contains("--min-rate"), "\(result.status) \(result.error)")
  }

  // MARK: --stale-wait

  /// A tag that has moved, at a registry that answers no question about it before the gate opens.
  private func holdTag(_ gate: DispatchSemaphore) throws {
    try registry.add(files: ["new": [2]], repository: "acme/m", tag: "t")
    registry.server.forgetRequests()
    registry.setFault { request, _ in
      guard request.method == "HEAD", request.path.hasSuffix("/manifests/t") else { return nil }
      gate.wait()
      gate.signal()
      return nil
    }
  }

  private var isAsked: Bool { registry.server.requests.contains { $0.method == "HEAD" } }

  @Test func aKnownTagIsServedAsKnownAfterTheUsualWait() async throws {
    try registry.add(files: ["old": [1]], repository: "acme/m", tag: "t")
    let mount = try await MountProcess(folder, ["--ttl", "0"])
    #expect(try await list(mount, "acme/m:t").output == "old\n")
    let gate = DispatchSemaphore(value: 0)
    defer { gate.signal() }
    try holdTag(gate)
    #expect(try await list(mount, "acme/m:t").output == "old\n", "\(mount.messages)")
    #expect(isAsked, "the registry was asked, and did not answer")
    gate.signal()
    #expect(try await eventually { try await list(mount, "acme/m:t").output == "new\n" })
  }

  @Test func aLongStaleWaitWaitsForTheRegistry() async throws {
    try registry.add(files: ["old": [1]], repository: "acme/m", tag: "t")
    let mount = try await MountProcess(folder, ["--ttl", "0", "--stale-wait", "600", "--timeout", "60"])
    #expect(try await list(mount, "acme/m:t").output == "old\n")
    let gate = DispatchSemaphore(value: 0)
    defer { gate.signal() }
    try holdTag(gate)
    let path = mount.path("\(registry.host)/acme/m:t")
    let listing = Task { try await Command.shell("ls '\(path)'") }
    #expect(await eventually { isAsked })
    // Longer than a daemon waits that knows nothing of the option.
    try await Task.sleep(for: .seconds(3))
    gate.signal()
    #expect(try await listing.value.output == "new\n", "\(mount.messages)")
  }

  // MARK: --authfile

  @Test func theDaemonReadsTheFileThatAuthfileNamesAndNoOther() async throws {
    try registry.add(files: ["x": [7]], repository: "acme/private", tag: "t")
    registry.setFault { request, _ in
      // "user:right"
      guard request.headers["authorization"] != "Basic dXNlcjpyaWdodA==" else { return nil }
      return .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
    }
    func write(_ auth: String, to name: String) throws {
      try folder.write(Array(#"{"auths":{"\#(registry.host)":{"auth":"\#(auth)"}}}"#.utf8), to: name)
    }
    // "user:wrong", where the file of a user is looked for.
    try write("dXNlcjp3cm9uZw==", to: ".docker/config.json")
    try write("dXNlcjpyaWdodA==", to: "secrets/auth.json")
    let without = try await MountProcess(folder, name: "without", root: "root1", [])
    let refused = try await list(without, "acme/private:t")
    #expect(refused.error.contains("Permission denied"), "\(refused.output)\(refused.error)")
    let file = folder.path("secrets/auth.json")
    let mount = try await MountProcess(folder, root: "root2", ["--authfile", file])
    let path = mount.path("\(registry.host)/acme/private:t/x")
    let read = try await Command.shell("od -An -tx1 '\(path)'")
    #expect(read.output == " 07\n", "\(read.error)\(mount.messages)")
    #expect(!"\(without.messages)\(mount.messages)".contains("dXNlc"), "no log has a secret")
    let empty = try await WeightfsCommand.run("mount --authfile '' '\(folder.path)'", in: folder)
    #expect(empty.status == 64 && empty.error.contains("--authfile"), "\(empty.error)")
  }

  @Test func anAuthfileIsReadAgainForTheNextToken() async throws {
    try registry.add(files: ["x": [7]], repository: "acme/private", tag: "t")
    registry.setFault { request, _ in
      guard request.headers["authorization"] != "Basic dXNlcjpyaWdodA==" else { return nil }
      return .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
    }
    let file = try folder.write(Array(#"{"auths":{}}"#.utf8), to: "auth.json")
    let mount = try await MountProcess(folder, ["--authfile", file])
    #expect(try await list(mount, "acme/private:t").error.contains("Permission denied"))
    // A user logs in while it is mounted.
    try folder.write(
      Array(#"{"auths":{"\#(registry.host)":{"auth":"dXNlcjpyaWdodA=="}}}"#.utf8),
      to: "auth.json"
    )
    #expect(try await eventually(seconds: 30) { try await list(mount, "acme/private:t").output == "x\n" })
  }
}
