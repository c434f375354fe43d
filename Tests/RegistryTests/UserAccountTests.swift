import Foundation
import Logging
import Registry
import TestSupport
import Testing

/// The user of this process, as the user database knows it.
struct UserAccountTests {
  private let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  @Test func theHomeDirectoryIsThatOfTheUserDatabaseWhereTheEnvironmentNamesNone() async throws {
    let entry = try await Command.run(["getent", "passwd", "\(geteuid())"])
    let fields = entry.output.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    try #require(fields.count >= 7, "\(entry.output)\(entry.error)")
    let home = fields[5]
    #expect(UserAccount.current.identifier == geteuid())
    #expect(UserAccount.current.home == home)
    let own = [
      "\(home)/.config/containers/auth.json", "\(home)/.docker/config.json", "\(home)/.dockercfg",
    ]
    for environment in [[:], ["HOME": ""]] as [[String: String]] {
      #expect(Array(CredentialFiles(environment: environment, log: log).paths.suffix(3)) == own)
    }
    let other = CredentialFiles(environment: ["HOME": "/somewhere"], log: log).paths
    #expect(other.last == "/somewhere/.dockercfg" && Set(other).isDisjoint(with: own), "\(other)")
  }
}
