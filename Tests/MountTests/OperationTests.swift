import Content
import Foundation
import MountDaemon
import OCI
import TestSupport
import Testing

/// What a running mount tells, and what it takes over: status, metrics, health, signals, messages to systemd.
@Suite(.serialized) struct OperationTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private let model = ModelFile.gguf(3_000_000, seed: 77)

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": model], repository: "acme/m", tag: "t")
  }

  /// Runs a command in the environment of the mounts of this test.
  private func run(_ words: String, _ environment: [String: String] = [:]) async throws -> Command.Result {
    try await Command.shell(
      "cd '\(folder.path)' && '\(MountProcess.program)' \(words)",
      environment: ["XDG_RUNTIME_DIR": folder.path, "WEIGHTFS_CONFIG": ""].merging(environment) { $1 }
    )
  }

  private func mount(_ options: String = "", _ environment: [String: String] = [:]) async throws -> String {
    let point = folder.path("point")
    try FileManager.default.createDirectory(atPath: point, withIntermediateDirectories: true)
    let made = try await run("mount --registry-root root \(options) point", environment)
    try #require(made.status == 0, "\(made.error)")
    return point
  }

  private func unmount() async throws {
    let gone = try await run("unmount point")
    #expect(gone.status == 0, "\(gone.error)")
  }

  private func status() async throws -> MountStatus {
    let result = try await run("status point --json")
    try #require(result.status == 0, "\(result.error)")
    let text = result.output.drop { $0 == "[" }.prefix { $0 != "\0" }
    let body = text.lastIndex(of: "]").map { text[..<$0] } ?? text
    return try #require(MountStatus(json: Array(body.utf8)), "\(result.output)")
  }

  @Test func theStatusShowsOpenFilesTheCacheAndEndpoints() async throws {
    let point = try await mount()
    let file = "\(point)/\(registry.host)/acme/m:t/model.gguf"
    let descriptor = open(file, O_RDONLY)
    try #require(descriptor >= 0)
    var byte = [UInt8](repeating: 0, count: 4)
    #expect(pread(descriptor, &byte, 4, 0) == 4)
    let found = try await status()
    #expect(found.mountPoint == point && found.root == folder.path("root"))
    #expect(found.openFiles.map(\.path) == ["\(registry.host)/acme/m:t/model.gguf"])
    #expect(found.openFiles.first?.size == Int64(model.count))
    #expect(found.endpoints.contains { $0.succeeded >= 2 && $0.failed == 0 }, "\(found.endpoints)")
    close(descriptor)
    #expect(await eventually { (try? await self.status().openFiles.isEmpty) ?? false })
    let text = try await run("status")
    #expect(text.output.contains("cache: ") && text.output.contains("open files: none"), "\(text.output)")
    try await unmount()
    let none = try await run("status point")
    #expect(none.status == 3 && none.error.contains("no daemon of this user answers"), "\(none.error)")
  }

  @Test func metricsAreServedOnTheSocketAndOnAnAddressAndEveryNameIsDocumented() async throws {
    let port = try FreePort.next()
    let point = try await mount("--metrics \(port)")
    let file = "\(point)/\(registry.host)/acme/m:t/model.gguf"
    #expect(
      try await Command.shell("cat '\(file)' >/dev/null && cat '\(point)/none.example/x' 2>/dev/null; true")
        .status == 0
    )
    let scrape = try await Command.run(["curl", "-s", "http://127.0.0.1:\(port)/metrics"]).output
    for name in [
      "weightfs_network_reads_total", "weightfs_http_responses_total{host=", "weightfs_cache_used_bytes",
    ] {
      #expect(scrape.contains(name), "\(name): \(scrape)")
    }
    #expect(scrape.contains("weightfs_opens_total{served=\"daemon\"} 1"), "\(scrape)")
    // The complete status is only for the user of the socket.
    let refused = try await Command.run([
      "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:\(port)/status",
    ])
    #expect(refused.output == "404")
    let documented = try String(contentsOf: Self.root.appending(path: "docs/metrics.md"), encoding: .utf8)
    let names = Set(
      scrape.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map { $0.split(separator: " ")[2] }
    )
    #expect(names.count > 25)
    for name in names { #expect(documented.contains("`\(name)`"), "docs/metrics.md lacks \(name)") }
    let dashboard = try String(
      contentsOf: Self.root.appending(path: "docs/grafana-dashboard.json"),
      encoding: .utf8
    )
    let shown = Set(dashboard.matches(of: /weightfs_[a-z_]+/).map { $0.0.replacing("_bucket", with: "") })
    #expect(shown.count > 15)
    for name in shown { #expect(names.contains(name[...]), "the dashboard has \(name)") }
    for row in documented.split(separator: "\n") where row.hasPrefix("| `weightfs_") {
      let name = row.dropFirst(3).prefix { $0 != "`" }
      #expect(names.contains(name), "docs/metrics.md has \(name)")
    }
    try await unmount()
  }

  private static var root: URL {
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
  }

  @Test func healthAndWaitReadThroughTheMount() async throws {
    let point = try await mount()
    let healthy = try await run("health point --timeout 5")
    #expect(healthy.status == 0, "\(healthy.error)")
    let deep = try await run("health point --reference \(registry.host)/acme/m:t")
    #expect(deep.status == 0, "\(deep.error)")
    let path = "\(point)/\(registry.host)/acme/m:t/model.gguf"
    let waited = try await run("wait --timeout 5 '\(path)'")
    #expect(waited.status == 0 && waited.output == "\(path)\n", "\(waited)")
    let absent = try await run("wait --timeout 1 '\(path)x'")
    #expect(absent.status == 5 && absent.error.contains("cannot be read"), "\(absent.error)")
    // A daemon that does not answer.
    let process = try await status().process
    kill(process, SIGSTOP)
    let stuck = try await run("health point --timeout 1")
    kill(process, SIGCONT)
    #expect(stuck.status == 1 && stuck.error.contains("did not answer within 1 s"), "\(stuck.error)")
    try await unmount()
    let gone = try await run("health point")
    #expect(gone.status == 1 && gone.error.contains("not mounted"), "\(gone.error)")
  }

  @Test func aHangUpTakesOverTheConfigurationAndOpensTheLogAgain() async throws {
    let file = try folder.write(Array("cache_limit = \"1G\"\n".utf8), to: "config.toml")
    let environment = ["WEIGHTFS_CONFIG": file]
    _ = try await mount("--log-file log", environment)
    #expect(try await status().cache.limit == 1 << 30)
    try folder.write(Array("cache_limit = \"2G\"\n".utf8), to: "config.toml")
    try FileManager.default.moveItem(atPath: folder.path("log"), toPath: folder.path("log.1"))
    let process = try await status().process
    kill(process, SIGHUP)
    #expect(await eventually { (try? await self.status().cache.limit) == 2 << 30 })
    #expect(await eventually { folder.has("log") }, "the log is opened again")
    try folder.write(Array("cache_limt = \"3G\"\n".utf8), to: "config.toml")
    kill(process, SIGHUP)
    #expect(
      await eventually {
        (try? folder.read("log")).map {
          String(decoding: $0, as: UTF8.self).contains("did you mean 'cache_limit'?")
        }
          ?? false
      }
    )
    #expect(try await status().cache.limit == 2 << 30, "a wrong configuration changes nothing")
    try await unmount()
  }

  @Test func aTermWaitsForOpenFilesAndASecondOneDoesNot() async throws {
    let point = try await mount("--stop-timeout 60")
    let process = try await status().process
    let descriptor = open("\(point)/\(registry.host)/acme/m:t/model.gguf", O_RDONLY)
    try #require(descriptor >= 0)
    kill(process, SIGTERM)
    // The mount still serves the open file.
    var byte = [UInt8](repeating: 0, count: 4)
    #expect(pread(descriptor, &byte, 4, 0) == 4)
    #expect(kill(process, 0) == 0)
    close(descriptor)
    #expect(await eventually { kill(process, 0) != 0 }, "the daemon ends once no file is open")
  }

  @Test func systemdIsToldThatTheMountIsReadyAndAlive() async throws {
    let script = """
      import os, socket, subprocess, sys
      s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); s.settimeout(30)
      env = dict(os.environ, NOTIFY_SOCKET=sys.argv[1], WATCHDOG_USEC='1000000')
      p = subprocess.Popen([sys.argv[2], 'mount', '--foreground', '--registry-root', sys.argv[3], sys.argv[4]], env=env)
      try:
          first = s.recv(4096).decode(); alive = s.recv(4096).decode()
          print(first.split('\\n')[0], alive)
      finally:
          p.terminate()
          print(p.wait(30))
      """
    try folder.write(Array(script.utf8), to: "notify.py")
    try FileManager.default.createDirectory(atPath: folder.path("point"), withIntermediateDirectories: true)
    let words = ["notify", "root", "point"].map { "'\(folder.path($0))'" }
    let result = try await Command.shell(
      "python3 '\(folder.path("notify.py"))' \(words[0]) '\(MountProcess.program)' \(words[1]) \(words[2])",
      environment: ["XDG_RUNTIME_DIR": folder.path, "WEIGHTFS_CONFIG": ""]
    )
    #expect(result.output == "READY=1 WATCHDOG=1\n0\n", "\(result.output)\(result.error)")
  }

  @Test func theDoctorChecksTheMachineAndARegistry() async throws {
    let good = try await run("doctor --registry-root root \(registry.host)/acme/m:t")
    #expect(good.status == 0, "\(good.output)\(good.error)")
    for words in ["/dev/fuse: can be opened", "local registry: ", "was found in", "with 1 request at once"] {
      #expect(good.output.contains(words), "\(words): \(good.output)")
    }
    let absent = try await run("doctor --registry-root root \(registry.host)/acme/m:absent")
    #expect(absent.status == 1 && absent.output.contains("FAIL"), "\(absent.output)")
    // In a mount namespace without the device.
    let hidden = try await Command.shell(
      "unshare --mount bash -c \"mount -t tmpfs none /dev; '\(MountProcess.program)' doctor --registry-root '\(folder.path("root"))'\"",
      environment: ["WEIGHTFS_CONFIG": ""]
    )
    #expect(
      hidden.status == 1 && hidden.output.contains("FAIL  /dev/fuse: "),
      "\(hidden.output)\(hidden.error)"
    )
    #expect(hidden.output.contains("--device /dev/fuse"), "\(hidden.output)")
  }

  @Test func aProxyThatIsAnOptionIsUsedAndItsExceptionsAreNot() async throws {
    // No server listens there: a request through the proxy fails.
    let proxy = "http://127.0.0.1:\(try FreePort.next())"
    let host = "registry.example.invalid"
    let used = try await run("exists --registry-root root --retry-for 0 --proxy \(proxy) \(host)/a/b:t")
    #expect(used.status == 5 && used.error.contains("127.0.0.1"), "\(used.error)")
    let direct = try await run(
      "exists --registry-root root --retry-for 0 --proxy \(proxy) --no-proxy \(host) \(host)/a/b:t"
    )
    #expect(direct.status == 5 && !direct.error.contains("127.0.0.1"), "\(direct.error)")
  }
}
