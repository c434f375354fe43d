import Foundation
import HTTP
import Logging
import OCI
import Registry
import TestSupport
import Testing

struct CredentialFilesTests {
  private let folder: TemporaryFolder
  private let messages = CollectedMessages()

  init() throws { folder = try TemporaryFolder() }

  private func write(_ name: String, _ entries: String) throws -> String {
    try folder.write(Array(#"{"auths":{\#(entries)}}"#.utf8), to: name)
  }

  // "user:NAME" in base64.
  private func entry(_ key: String, _ auth: String) -> String { #""\#(key)":{"auth":"\#(auth)"}"# }
  private let first = "dXNlcjpmaXJzdA=="
  private let second = "dXNlcjpzZWNvbmQ="

  private func password(
    _ environment: [String: String],
    _ reference: String = "ghcr.io/acme/x"
  ) async throws -> String? {
    let repository = try Reference(parsing: reference).repository
    // An account without files, so that those of the user who runs the tests are not used.
    let files = CredentialFiles(
      environment: environment,
      user: UserAccount(identifier: 4_000_000, home: nil),
      log: Logger(label: "test") { _ in CollectingLog(messages: messages) }
    )
    switch await files.credential(for: repository)?.credential {
    case .password("user", let password)?: return password.value
    case .password(let user, let password)?: return "\(user) \(password.value)"
    case .identityToken(let token)?: return "token " + token.value
    case .registryToken(let token)?: return "registry token " + token.value
    case nil: return nil
    }
  }

  @Test func theFilesAreReadInTheirOrder() async throws {
    let explicit = try write("auth.json", entry("ghcr.io", first))
    _ = try write("run/containers/auth.json", entry("ghcr.io", second))
    _ = try write("home/.docker/config.json", entry("quay.io", second))
    let environment = ["XDG_RUNTIME_DIR": folder.path("run"), "HOME": folder.path("home")]
    #expect(try await password(environment.merging(["REGISTRY_AUTH_FILE": explicit]) { $1 }) == "first")
    #expect(try await password(environment) == "second")
    #expect(try await password(environment, "quay.io/a/b") == "second")
    // An explicit file is the only one used.
    #expect(
      try await password(["REGISTRY_AUTH_FILE": explicit, "HOME": folder.path("home")], "quay.io/a/b") == nil
    )
    #expect(
      try await password([
        "DOCKER_CONFIG": folder.path("home/.docker"), "XDG_RUNTIME_DIR": folder.path("run"),
      ])
        == nil
    )
  }

  @Test func theLongestNameWins() async throws {
    let file = try write("auth.json", entry("ghcr.io", first) + "," + entry("ghcr.io/acme", second))
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "ghcr.io/acme/x") == "second")
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "ghcr.io/other/x") == "first")
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "ghcr.io.evil.com/acme/x") == nil)
  }

  @Test func keysWithSchemesAndDockerHubsManyNames() async throws {
    let file = try write(
      "auth.json",
      entry("https://index.docker.io/v1/", first) + "," + entry("https://a.io/v2/", second)
    )
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "ubuntu") == "first")
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "a.io/b/c") == "second")
  }

  @Test func aNamespacesKeyIsNotTheHosts() async throws {
    let file = try write("auth.json", entry("ghcr.io/private", first))
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "ghcr.io/acme/x") == nil)
  }

  @Test func identityTokensAndDamagedFiles() async throws {
    let file = try folder.write(
      Array(#"{"auths":{"a.io":{"identitytoken":"abc"},"b.io":{},"c.io":{"auth":"%%"}}}"#.utf8),
      to: "t"
    )
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "a.io/x/y") == "token abc")
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "b.io/x/y") == nil)
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "c.io/x/y") == nil)
    let damaged = try folder.write(Array("{".utf8), to: "damaged")
    #expect(try await password(["REGISTRY_AUTH_FILE": damaged]) == nil)
  }

  @Test func theHomeDirectoryAndTheRuntimeDirectoryComeFromTheAccount() throws {
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let user = UserAccount(identifier: 1234, home: "/home/somebody")
    let files = CredentialFiles(environment: [:], user: user, log: log)
    #expect(
      files.paths == [
        "/run/containers/1234/auth.json", "/home/somebody/.config/containers/auth.json",
        "/home/somebody/.docker/config.json", "/home/somebody/.dockercfg",
      ]
    )
    #expect(
      CredentialFiles(explicit: "/a", environment: ["REGISTRY_AUTH_FILE": "/b"], user: user, log: log).paths
        == ["/a"]
    )
    // podman's directory below TMPDIR is used only if it belongs to the user and no other user can write to
    // it.
    let own = UserAccount(identifier: getuid(), home: nil)
    let temporary = folder.path("podman-run-\(getuid())")
    try FileManager.default.createDirectory(
      atPath: temporary,
      withIntermediateDirectories: true,
      attributes: [.posixPermissions: 0o700]
    )
    let environment = ["TMPDIR": folder.path]
    #expect(
      CredentialFiles(environment: environment, user: own, log: log).paths.contains(
        "\(temporary)/containers/auth.json"
      )
    )
    chmod(temporary, 0o777)
    #expect(
      !CredentialFiles(environment: environment, user: own, log: log).paths.contains(
        "\(temporary)/containers/auth.json"
      )
    )
  }

  @Test func tokensOfEveryKindAreToldApart() async throws {
    let file = try folder.write(
      Array(
        #"""
        {"auths":{"a.io":{"auth":"PHRva2VuPjphYmM="},"b.io":{"registrytoken":"xyz"},
        "c.io":{"auth":"MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOnJlZg=="}}}
        """#.utf8
      ),
      to: "t"
    )
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "a.io/x/y") == "token abc")
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "b.io/x/y") == "registry token xyz")
    #expect(try await password(["REGISTRY_AUTH_FILE": file], "c.io/x/y") == "token ref")
  }

  @Test func oneForeignEntryCostsOnlyItself() async throws {
    let file = try write("auth.json", #""a.io":{"auth":5},"b.io":[],"# + entry("ghcr.io", first))
    #expect(try await password(["REGISTRY_AUTH_FILE": file]) == "first")
    #expect(messages.all.contains { $0.contains("auth.json") && $0.contains("b.io") }, "\(messages.all)")
  }

  @Test func aFileThatCannotBeReadIsNamedOnceWithItsError() async throws {
    let damaged = try folder.write(Array("{".utf8), to: "damaged")
    _ = try await password(["REGISTRY_AUTH_FILE": damaged])
    _ = try await password(["REGISTRY_AUTH_FILE": folder.path])
    #expect(messages.all.contains { $0.contains(damaged) }, "\(messages.all)")
    #expect(messages.all.contains { $0.contains("no regular file") }, "\(messages.all)")
  }

  private func helper(_ name: String, _ script: String) throws {
    try HelperProgram.install(name, script, in: folder)
  }

  @Test func aFileThatSomebodyNamedAndIsNotThereIsToldOf() async throws {
    let path = folder.path("nowhere.json")
    for environment in [["REGISTRY_AUTH_FILE": path], ["HOME": folder.path("home")]] {
      _ = try await password(environment)
    }
    let told = messages.all.filter { $0.contains("there is no such file") }
    #expect(told.count == 1 && told[0].contains(path), "\(messages.all)")
  }

  @Test func helpersAreAskedOnceForAllWhoWait() async throws {
    try helper(
      "weightfstest",
      #"read server; echo "$server" >>'\#(folder.path("asked"))'; sleep 0.3; echo '{"ServerURL":"x","Username":"user","Secret":"s3"}'"#
    )
    let file = try folder.write(
      Array(#"{"credHelpers":{"ghcr.io":"weightfstest"},"credsStore":"weightfstest"}"#.utf8),
      to: "config.json"
    )
    let files = CredentialFiles(
      explicit: file,
      environment: [:],
      log: Logger(label: "test") { _ in CollectingLog(messages: messages) }
    )
    let repository = try Reference(parsing: "ghcr.io/acme/x").repository
    let found = await withTaskGroup(of: FoundCredential?.self) { group in
      for _ in 0..<8 { group.addTask { await files.credential(for: repository) } }
      var all: [FoundCredential?] = []
      for await one in group { all.append(one) }
      return all
    }
    #expect(found.allSatisfy { $0?.credential == .password(username: "user", password: Secret("s3")) })
    #expect(String(decoding: try folder.read("asked"), as: UTF8.self) == "ghcr.io\n", "one call for all")
    let hub = try Reference(parsing: "ubuntu").repository
    _ = await files.credential(for: hub)
    #expect(String(decoding: try folder.read("asked"), as: UTF8.self).contains("https://index.docker.io/v1/"))
  }

  @Test(
    arguments: [
      ("absent", "echo 'credentials not found in native keychain'; exit 1", nil),
      ("fails", "echo 'no session'; exit 3", "no session"),
      ("chatty", "head -c 200000 /dev/zero", "more than 65536 bytes"),
      ("silent", "exec >&-; exit 0", "no credential"), ("hangs", "exec sleep 60", "no answer for 10 s"),
      ("missing-program", nil, "no such program"),
    ] as [(String, String?, String?)]
  )
  func aHelperThatFailsIsNamed(_ name: String, _ script: String?, _ reason: String?) async throws {
    if let script { try helper("weightfs-\(name)", script) }
    let file = try folder.write(
      Array(#"{"credHelpers":{"ghcr.io":"weightfs-\#(name)"}}"#.utf8),
      to: "config.json"
    )
    #expect(try await password(["REGISTRY_AUTH_FILE": file]) == nil)
    if let reason {
      #expect(messages.all.contains { $0.contains(reason) && $0.contains(file) }, "\(messages.all)")
    } else {
      #expect(messages.all.isEmpty)
    }
  }

  /// A package is upgraded while it is asked, or another thread forks while the program is written.
  @Test func aHelperThatIsBeingWrittenIsAskedAMomentLater() async throws {
    try helper("weightfs-busy", #"echo '{"Username":"u","Secret":"p"}'"#)
    let file = try folder.write(
      Array(#"{"credHelpers":{"ghcr.io":"weightfs-busy"}}"#.utf8),
      to: "config.json"
    )
    let program = open(folder.path("bin/docker-credential-weightfs-busy"), O_WRONLY | O_CLOEXEC)
    try #require(program >= 0)
    let asked = Task { try await password(["REGISTRY_AUTH_FILE": file]) }
    // Closed while the program is asked: a busy program is tried for a second.
    try await Task.sleep(for: .milliseconds(200))
    close(program)
    #expect(try await asked.value != nil, "\(messages.all)")
  }

  @Test func aHelperThatFailsIsNamedOnceHoweverOftenItIsAsked() async throws {
    try helper("weightfs-broken", #"echo x >>'\#(folder.path("asked"))'; echo 'no session'; exit 3"#)
    let file = try folder.write(
      Array(#"{"credHelpers":{"ghcr.io":"weightfs-broken"}}"#.utf8),
      to: "config.json"
    )
    let files = CredentialFiles(
      explicit: file,
      environment: [:],
      log: Logger(label: "test") { _ in CollectingLog(messages: messages) }
    )
    let repository = try Reference(parsing: "ghcr.io/acme/x").repository
    for _ in 0..<3 {
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<8 {
          group.addTask {
            let found = await files.credential(for: repository)
            #expect(found == nil)
          }
        }
      }
    }
    let asked = try folder.read("asked").count { $0 == UInt8(ascii: "x") }
    #expect((3...24).contains(asked), "it is asked again later: \(asked) times")
    #expect(messages.all.count == 1, "\(messages.all)")
    let told = messages.all.first ?? ""
    #expect(told.contains("docker-credential-weightfs-broken ended with status 3: no session"), "\(told)")
    #expect(told.contains(file), "\(told)")
  }
}
