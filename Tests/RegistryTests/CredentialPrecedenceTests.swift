import Foundation
import HTTP
import Logging
import OCI
import Registry
import TestSupport
import Testing

/// The order of the entries of one credential file for one host: the helper of the host, the file itself, the helper
/// for all hosts.
struct CredentialPrecedenceTests {
  private let folder: TemporaryFolder
  private static let named = "weightfs-precedes"
  private static let general = "weightfs-general"

  init() throws { folder = try TemporaryFolder() }

  /// Installs a helper that notes its calls, and answers with a secret, or has none.
  private func install(_ name: String, _ secret: String?) throws {
    let answer =
      secret.map { #"echo '{"Username":"user","Secret":"\#($0)"}'"# }
      ?? "echo 'credentials not found in native keychain'; exit 1"
    try HelperProgram.install(
      name + folder.suffix,
      #"read server; echo "$server" >>'\#(folder.path(name))'; \#(answer)"#,
      in: folder
    )
  }

  /// Returns the secret for a repository, and the name of its source.
  private func find(_ members: String, _ reference: String) async throws -> (secret: String?, source: String?)
  {
    let file = try folder.write(Array("{\(members)}".utf8), to: "config.json")
    let files = CredentialFiles(
      explicit: file,
      environment: [:],
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    )
    let found = await files.credential(for: try Reference(parsing: reference).repository)
    guard case .password("user", let secret)? = found?.credential else { return (nil, found?.source) }
    return (secret.value, found?.source)
  }

  // "user:first" and "user:second" in base64.
  private let auths =
    #""auths":{"ghcr.io":{"auth":"dXNlcjpmaXJzdA=="},"ghcr.io/acme":{"auth":"dXNlcjpzZWNvbmQ="}}"#
  private var helpers: String { #""credHelpers":{"ghcr.io":"\#(Self.named)\#(folder.suffix)"}"# }
  private var store: String { #""credsStore":"\#(Self.general)\#(folder.suffix)""# }

  @Test func theHelperOfAHostPrecedesTheEntriesOfTheSameFile() async throws {
    try install(Self.named, "helper")
    for members in ["\(auths),\(helpers)", "\(helpers),\(auths)"] {
      // Also those of a longer name.
      for reference in ["ghcr.io/other/x", "ghcr.io/acme/x"] {
        let found = try await find(members, reference)
        #expect(found.secret == "helper", "\(reference)")
        #expect(found.source?.hasSuffix("(docker-credential-\(Self.named)\(folder.suffix))") ?? false)
      }
    }
  }

  @Test func aHelperWithoutACredentialLeavesTheEntriesOfTheFile() async throws {
    try install(Self.named, nil)
    let found = try await find("\(auths),\(helpers)", "ghcr.io/other/x")
    #expect(found.secret == "first")
    #expect(found.source == folder.path("config.json"))
    #expect(try await find("\(auths),\(helpers)", "ghcr.io/acme/x").secret == "second")
    #expect(folder.has(Self.named), "the helper is asked first")
  }

  @Test func theEntriesOfTheFilePrecedeTheHelperForAllHosts() async throws {
    try install(Self.general, "general")
    #expect(try await find("\(auths),\(store)", "ghcr.io/other/x").secret == "first")
    #expect(!folder.has(Self.general), "the helper is not asked")
    #expect(try await find("\(auths),\(store)", "quay.io/other/x").secret == "general")
    #expect(String(decoding: try folder.read(Self.general), as: UTF8.self) == "quay.io\n")
  }

  @Test func theHelperOfAHostIsTheOnlyHelperThatIsAsked() async throws {
    try install(Self.named, nil)
    try install(Self.general, "general")
    #expect(try await find("\(helpers),\(store)", "ghcr.io/other/x").secret == nil)
    #expect(!folder.has(Self.general))
    #expect(try await find("\(auths),\(helpers)", "quay.io/other/x").secret == nil)
  }
}

extension TemporaryFolder {
  /// A part of the names of this test's programs: the tests share one PATH.
  fileprivate var suffix: String { "-" + path.suffix(8).lowercased() }
}
