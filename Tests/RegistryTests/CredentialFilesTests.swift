import HTTP
import OCI
import Registry
import TestSupport
import Testing

struct CredentialFilesTests {
  private let folder: TemporaryFolder

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
  ) throws -> String? {
    let repository = try Reference(parsing: reference).repository
    switch CredentialFiles(environment: environment).credential(for: repository) {
    case .password("user", let password)?: return password.value
    case .identityToken(let token)?: return "token " + token.value
    default: return nil
    }
  }

  @Test func theFilesAreReadInTheirOrder() throws {
    let explicit = try write("auth.json", entry("ghcr.io", first))
    _ = try write("run/containers/auth.json", entry("ghcr.io", second))
    _ = try write("home/.docker/config.json", entry("quay.io", second))
    let environment = ["XDG_RUNTIME_DIR": folder.path("run"), "HOME": folder.path("home")]
    #expect(try password(environment.merging(["REGISTRY_AUTH_FILE": explicit]) { $1 }) == "first")
    #expect(try password(environment) == "second")
    #expect(try password(environment, "quay.io/a/b") == "second")
    // An explicit file is the only one.
    #expect(
      try password(["REGISTRY_AUTH_FILE": explicit, "HOME": folder.path("home")], "quay.io/a/b") == nil
    )
    #expect(
      try password(["DOCKER_CONFIG": folder.path("home/.docker"), "XDG_RUNTIME_DIR": folder.path("run")])
        == nil
    )
  }

  @Test func theLongestNameWins() throws {
    let file = try write("auth.json", entry("ghcr.io", first) + "," + entry("ghcr.io/acme", second))
    #expect(try password(["REGISTRY_AUTH_FILE": file], "ghcr.io/acme/x") == "second")
    #expect(try password(["REGISTRY_AUTH_FILE": file], "ghcr.io/other/x") == "first")
    #expect(try password(["REGISTRY_AUTH_FILE": file], "ghcr.io.evil.com/acme/x") == nil)
  }

  @Test func keysWithSchemesAndDockerHubsManyNames() throws {
    let file = try write(
      "auth.json",
      entry("https://index.docker.io/v1/", first) + "," + entry("https://a.io/v2/", second)
    )
    #expect(try password(["REGISTRY_AUTH_FILE": file], "ubuntu") == "first")
    #expect(try password(["REGISTRY_AUTH_FILE": file], "a.io/b/c") == "second")
  }

  @Test func aNamespacesKeyIsNotTheHosts() throws {
    let file = try write("auth.json", entry("ghcr.io/private", first))
    #expect(try password(["REGISTRY_AUTH_FILE": file], "ghcr.io/acme/x") == nil)
  }

  @Test func identityTokensAndDamagedFiles() throws {
    let file = try folder.write(
      Array(#"{"auths":{"a.io":{"identitytoken":"abc"},"b.io":{},"c.io":{"auth":"%%"}}}"#.utf8),
      to: "t"
    )
    #expect(try password(["REGISTRY_AUTH_FILE": file], "a.io/x/y") == "token abc")
    #expect(try password(["REGISTRY_AUTH_FILE": file], "b.io/x/y") == nil)
    #expect(try password(["REGISTRY_AUTH_FILE": file], "c.io/x/y") == nil)
    let damaged = try folder.write(Array("{".utf8), to: "damaged")
    #expect(try password(["REGISTRY_AUTH_FILE": damaged]) == nil)
  }
}
