import Foundation
import OCI
import TestSupport
import Testing

/// The rows of the matrix that are about more than one registry's answers: hosts, certificates, credentials, storage,
/// the network that is not to be used, and the disk.
@Suite(.serialized) struct FaultMatrixHostTests {
  /// The rows that are tested here.
  static let faults: Set<String> = [
    "connection refused", "certificate: expired", "certificate: unknown issuer",
    "certificate: of another host",
    "credential: refused", "token server: 500", "token server: plain HTTP, named over TLS",
    "storage host: 403",
    "storage host: 400 ExpiredToken", "redirect to a link-local address",
    "offline, not in the local registry",
    "layout without its manifest, which the registry has", "layout without its manifest, offline",
    "full disk",
  ]

  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private let matrix: FaultMatrix

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    matrix = try FaultMatrix()
  }

  /// Adds an artifact; each has a model of its own, as faults are remembered of a digest.
  private func add(_ repository: String, seed: UInt64) throws {
    try registry.add(
      files: ["model.gguf": ModelFile.gguf(300_000, seed: 700 + seed)],
      repository: "fault/\(repository)",
      tag: "t"
    )
  }

  // MARK: Mounts and commands

  private var environment: [String: String] {
    folder.has("trusted.pem") ? ["CURL_CA_BUNDLE": folder.path("trusted.pem")] : [:]
  }

  /// Makes mounts and commands trust the certificates of fronts.
  private func trust(_ fronts: [TLSFront]) throws {
    let all = try fronts.flatMap { Array(try Data(contentsOf: URL(filePath: $0.trusted))) }
    try folder.write(all, to: "trusted.pem")
  }

  private func mount(root: String = "root", _ options: [String] = []) async throws -> MountProcess {
    try await MountProcess(
      folder,
      name: "mount of \(root.filter { $0 != "/" })",
      root: root,
      ["--fill", "demand", "--timeout", "15", "--retry-for", "8"] + options,
      environment: environment
    )
  }

  private func check(
    _ fault: String,
    _ name: String,
    _ mount: MountProcess,
    logged: String? = nil,
    root: String? = nil,
    options: String = ""
  ) async throws {
    #expect(Self.faults.contains(fault), "\(fault)")
    let own = root ?? "own/\(fault.filter(\.isLetter))"
    try await matrix.check(fault, name, mount, logged: logged) {
      let result = try await WeightfsCommand.run(
        "cat \(name) model.gguf --timeout 15 --retry-for 8 --log-level debug \(options) >/dev/null",
        in: folder,
        root: own,
        environment: environment
      )
      return (result, FaultMatrix.mostFrequentRequest(in: result.error))
    }
  }

  // MARK: Rows

  @Test func hostsThatCannotBeReachedOrTrusted() async throws {
    try add("m", seed: 1)
    let gone = try HTTPServer { _ in .init(200) }
    gone.stop()
    let port = registry.server.port
    let expired = try await TLSFront(to: port, .expired)
    let unknown = try await TLSFront(to: port, .ofUnknownIssuer)
    let other = try await TLSFront(to: port, .ofAnotherHost)
    try trust([expired, other])
    let mount = try await mount()
    for (fault, host) in [
      ("connection refused", "127.0.0.1:\(gone.port)"), ("certificate: expired", expired.host),
      ("certificate: unknown issuer", unknown.host), ("certificate: of another host", other.host),
    ] {
      // The first name below the host is looked up first, and fails.
      try await check(fault, "\(host)/fault/m:t", mount, logged: "\(host)/fault")
    }
    #expect(registry.server.requests.isEmpty, "nothing is sent over TLS that is not trusted")
    withExtendedLifetime((expired, unknown, other)) {}
  }

  @Test func credentialsTokenServersAndStorageHosts() async throws {
    let tokens = try HTTPServer { _ in .init(500) }
    let storage = try HTTPServer { request in
      let code = request.path == "/403" ? "AccessDenied" : "ExpiredToken"
      return .init(
        request.path == "/403" ? 403 : 400,
        headers: [("Content-Type", "application/xml")],
        body: Array("<Error><Code>\(code)</Code></Error>".utf8)
      )
    }
    defer {
      tokens.stop()
      storage.stop()
    }
    for (number, name) in ["credential", "token", "forbidden", "ended"].enumerated() {
      try add(name, seed: 10 + UInt64(number))
    }
    let ports = (tokens: tokens.port, storage: storage.port)
    registry.setFault { request, _ in
      let parts = request.path.split(separator: "/").map(String.init)
      guard parts.count > 4, parts[1] == "fault" else { return nil }
      switch (parts[2], parts[3]) {
      case ("credential", _): return .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")])
      case ("token", _):
        let challenge = "Bearer realm=\"http://127.0.0.1:\(ports.tokens)/token\""
        return .init(401, headers: [("WWW-Authenticate", challenge)])
      case ("forbidden", "blobs"):
        return .init(307, headers: [("Location", "http://127.0.0.1:\(ports.storage)/403?sig=secret")])
      case ("ended", "blobs"):
        return .init(307, headers: [("Location", "http://127.0.0.1:\(ports.storage)/400?sig=secret")])
      default: return nil
      }
    }
    // "user:wrong"
    let file = #"{"auths":{"\#(registry.host)":{"auth":"dXNlcjp3cm9uZw=="}}}"#
    try folder.write(Array(file.utf8), to: ".docker/config.json")
    let mount = try await mount()
    for (fault, name) in [
      ("credential: refused", "credential"), ("token server: 500", "token"),
      ("storage host: 403", "forbidden"),
      ("storage host: 400 ExpiredToken", "ended"),
    ] {
      try await check(fault, "\(registry.host)/fault/\(name):t", mount)
    }
    #expect(!mount.messages.contains("secret") && !mount.messages.contains("dXNlc"), "\(mount.messages)")
  }

  @Test func placesThatARegistryMayNotLeadTo() async throws {
    let tokens = try HTTPServer { _ in .init(200, body: Array(#"{"token":"x"}"#.utf8)) }
    defer { tokens.stop() }
    try add("realm", seed: 20)
    try add("redirect", seed: 21)
    let challenge = "Bearer realm=\"http://127.0.0.1:\(tokens.port)/token\""
    registry.setFault { request, _ in
      if request.path.contains("/fault/realm/") {
        return .init(401, headers: [("WWW-Authenticate", challenge)])
      }
      guard request.path.contains("/fault/redirect/blobs/") else { return nil }
      return .init(307, headers: [("Location", "https://169.254.169.254/latest/meta-data")])
    }
    let front = try await TLSFront(to: registry.server.port)
    try trust([front])
    let mount = try await mount()
    try await check("token server: plain HTTP, named over TLS", "\(front.host)/fault/realm:t", mount)
    try await check("redirect to a link-local address", "\(front.host)/fault/redirect:t", mount)
    #expect(tokens.requests.isEmpty)
    withExtendedLifetime(front) {}
  }

  @Test func layoutsWithoutManifestsAndAnAbsentNetwork() async throws {
    let host = registry.host.replacing(":", with: "__")
    let model = ModelFile.gguf(300_000, seed: 730)
    // Of each mount and of each command.
    for root in ["root", "own/damaged", "online", "own/mended"] {
      let place = "\(root)/\(host)/fault/damaged/__t"
      let entry = try LayoutMaker.write(folder, place, layers: [LayoutMaker.file("model.gguf", model)])
      let manifest = "\(place)/blobs/sha256/\(entry.digest.hex)"
      registry.add(document: try folder.read(manifest), repository: "fault/damaged", tags: ["t"])
      try FileManager.default.removeItem(atPath: folder.path(manifest))
    }
    let name = "\(registry.host)/fault/damaged:t"
    let offline = try await mount(["--offline"])
    try await check(
      "offline, not in the local registry",
      "\(registry.host)/fault/absent:t",
      offline,
      options: "--offline"
    )
    try await check(
      "layout without its manifest, offline",
      name,
      offline,
      root: "own/damaged",
      options: "--offline"
    )
    #expect(registry.server.requests.isEmpty, "\(registry.server.requests.map(\.path))")
    let online = try await mount(root: "online")
    try await check("layout without its manifest, which the registry has", name, online, root: "own/mended")
  }

  @Test func aFullDisk() async throws {
    let disk = folder.path("disk")
    let made = try await Command.shell("mkdir '\(disk)' && mount -t tmpfs -o size=16m none '\(disk)'")
    try #require(made.status == 0, "\(made.error)")
    defer { umount2(disk, Int32(MNT_DETACH)) }
    try add("first", seed: 40)
    try add("full", seed: 41)
    let mount = try await mount(root: "disk/root")
    _ = try await Command.shell("ls '\(mount.path("\(registry.host)/fault/first:t"))'")
    // Not a byte is left, not even for empty files.
    let filled = try await Command.shell(
      "cd '\(disk)'; head -c 40000000 /dev/zero >fill 2>/dev/null; i=0; while : >x$i 2>/dev/null && [ $i -lt 200000 ]; do i=$((i+1)); done; df --output=avail . | tail -1"
    )
    #expect(filled.output.filter(\.isNumber) == "0", "\(filled.output)")
    try await check("full disk", "\(registry.host)/fault/full:t", mount, logged: disk, root: "disk/root")
  }
}
