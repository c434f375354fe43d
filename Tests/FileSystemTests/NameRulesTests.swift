import Content
import FileSystem
import Foundation
import OCI
import SystemPackage
import Testing

struct NameRulesTests {
  private static let hex = String(repeating: "3f", count: 32)

  @Test(arguments: ["ghcr.io", "localhost", "localhost:5000", "docker.io", "10.0.0.1:80"])
  func registries(_ name: String) { #expect(NameRules.registry(name) == name) }

  @Test func aPortsColonOnDisk() { #expect(NameRules.registry("localhost__5000") == "localhost:5000") }

  @Test(arguments: [
    ".git", ".Trash", "Trash", "ghcr", "model.gguf", "index.json", "autorun.inf", "desktop.ini", "a_b.c",
    "..", "x.safetensors.index.json",
  ])
  func noRegistries(_ name: String) { #expect(NameRules.registry(name) == nil) }

  @Test func unambiguousSpellings() throws {
    let digest = try #require(Digest("sha256:\(Self.hex)"))
    #expect(
      NameRules.parse("gemma3:q4", isBelowRegistry: true)
        == .reference(component: "gemma3", target: .tag("q4"))
    )
    #expect(
      NameRules.parse("gemma3@sha256:\(Self.hex)", isBelowRegistry: false)
        == .reference(component: "gemma3", target: .digest(digest))
    )
    #expect(NameRules.parse("sha256:\(Self.hex)", isBelowRegistry: false) == .digest(digest))
    #expect(NameRules.parse("sha256:\(Self.hex)", isBelowRegistry: true) == .impossible)
  }

  @Test(arguments: [
    ("q4", true, true), ("Q4", false, true), ("_x", false, true), ("a..b", false, true), ("a.b", true, true),
  ])
  func plainNames(_ name: String, _ component: Bool, _ tag: Bool) {
    #expect(
      NameRules.parse(name, isBelowRegistry: false) == .plain(name, mayBeComponent: component, mayBeTag: tag)
    )
  }

  @Test(arguments: [
    ".git", "", "a b", "ä", "a:b:c", "A:b", "x@sha256:zz", ":", "x:", ".Trash-0", "a/b",
    String(repeating: "x", count: 300),
  ])
  func impossibleNames(_ name: String) {
    #expect(NameRules.parse(name, isBelowRegistry: false) == .impossible)
  }

  @Test func belowARegistryThereAreNoTags() {
    #expect(NameRules.parse("Q4", isBelowRegistry: true) == .impossible)
    #expect(NameRules.parse("x", isBelowRegistry: true) == .plain("x", mayBeComponent: true, mayBeTag: false))
  }

  @Test func onDiskSpellings() throws {
    let digest = try #require(Digest("sha256:\(Self.hex)"))
    #expect(
      NameRules.decodings("gemma3__q4", isBelowRegistry: false) == [
        .reference(component: "gemma3", target: .tag("q4"))
      ]
    )
    #expect(NameRules.decodings("__sha256__\(Self.hex)", isBelowRegistry: false).first == .digest(digest))
    for name in ["gemma3__sha256__\(Self.hex)", "gemma3@sha256__\(Self.hex)"] {
      #expect(
        NameRules.decodings(name, isBelowRegistry: false).first
          == .reference(component: "gemma3", target: .digest(digest))
      )
    }
    #expect(
      NameRules.decodings("a__b__c", isBelowRegistry: false) == [
        .reference(component: "a", target: .tag("b__c")), .reference(component: "a__b", target: .tag("c")),
      ]
    )
    #expect(NameRules.decodings("plain", isBelowRegistry: false).isEmpty)
  }

  @Test func tagsThatToolsMakeAreHidden() {
    #expect(NameRules.isReferrersTag("sha256-\(Self.hex)"))
    #expect(NameRules.isReferrersTag("sha256-\(Self.hex).sig"))
    #expect(!NameRules.isReferrersTag("sha256-v1"))
    #expect(!NameRules.isReferrersTag("v1"))
  }
}

struct ErrnoTests {
  /// The first table of docs/errors.md equals the mapping, for all codes.
  @Test func theMappingIsThatOfTheDocument() throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let text = try String(contentsOf: root.appending(path: "docs/errors.md"), encoding: .utf8)
    let names: [String: Errno] = [
      "ENOENT": .noSuchFileOrDirectory, "EACCES": .permissionDenied, "EIO": .ioError, "ETIMEDOUT": .timedOut,
      "ENETUNREACH": .networkUnreachable, "EINTR": .interrupted, "ESTALE": .staleNFSFileHandle,
      "ENOMEM": .noMemory,
    ]
    var documented: [String: Errno] = [:]
    for match in text.matches(of: /(?m)^\| `(\w+)` \| (E\w+) \|/) {
      documented[String(match.1)] = names[String(match.2)]
    }
    for code in ContentError.Code.allCases {
      #expect(documented[code.rawValue] == Errno(code), "\(code)")
    }
    #expect(documented.count == ContentError.Code.allCases.count)
  }
}
