import Content
import Foundation
import OCI
import TestSupport
import Testing

/// A tag that resolves to a manifest that is missing or cannot be parsed: each command fails, and the mount
/// keeps working.
@Suite(.serialized) struct ManifestFaultTests {
  /// The answer to a request for a manifest by digest.
  enum Fault: String, CaseIterable, CustomTestStringConvertible {
    case notFound, forbidden, tooManyRequests, serverError, hangUp, wrongBytes, noJSON, invalidDigest, moved

    var testDescription: String { rawValue }
  }

  private let folder: TemporaryFolder
  private let registry: FaultyRegistry

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": Array("GGUF\u{3}".utf8)], repository: "good/m", tag: "t")
  }

  /// Adds `bad/m:t`, a tag whose manifest, or the manifest in its index, is replaced with a fault.
  private func breakManifest(_ fault: Fault, isChild: Bool) throws -> String {
    let name = "bad/\(fault.rawValue.lowercased())\(isChild ? "child" : "")"
    // Different content for each, as fetched blobs are shared.
    let content = Array("GGUF \(name)".utf8)
    var target = try registry.add(files: ["model.gguf": content], repository: name, tag: "inner")
    switch fault {
    case .noJSON:
      target = registry.add(document: Array("<html>".utf8), repository: name, tags: ["inner"])
    case .invalidDigest:
      let text = #"{"schemaVersion":2,"config":{"digest":"sha256:zz","size":1},"layers":[]}"#
      target = registry.add(document: Array(text.utf8), repository: name, tags: ["inner"])
    default: break
    }
    if isChild {
      target = registry.add(
        document: try JSONDocument.encode(Index(manifests: [target])),
        type: .imageIndex,
        repository: name,
        tags: ["t"]
      )
    } else {
      let bytes = try #require(registry.document("inner", of: name))
      registry.add(document: bytes, repository: name, tags: ["t"])
    }
    let index = target
    registry.setFault { request, _ in
      // The tag leads to another manifest by the time that the one that HEAD named is asked for, and was removed.
      if fault == .moved, request.method == "GET", request.path.hasSuffix("/manifests/t") {
        return .init(200, body: Array(#"{"schemaVersion":2,"layers":[]}"#.utf8))
      }
      guard request.path.hasPrefix("/v2/\(name)/manifests/sha256:"), request.method == "GET" else {
        return nil
      }
      if isChild, request.path.hasSuffix(index.digest.hex) { return nil }
      switch fault {
      case .notFound: return .init(404)
      case .forbidden: return .init(403)
      case .tooManyRequests: return .init(429, headers: [("Retry-After", "120")])
      case .serverError: return .init(500)
      case .hangUp:
        var answer = HTTPServer.Answer(200, body: Array("{\"schema".utf8))
        answer.declaredLength = 500
        answer.cutAfter = 9
        return answer
      case .wrongBytes: return .init(200, body: Array(#"{"schemaVersion":2,"layers":[]}"#.utf8))
      case .moved: return .init(404)
      case .noJSON, .invalidDigest: return nil
      }
    }
    return "\(registry.host)/\(name):t"
  }

  @Test(arguments: Fault.allCases, [false, true])
  func everyCommandEndsWithAnError(_ fault: Fault, isChild: Bool) async throws {
    let name = try breakManifest(fault, isChild: isChild)
    // In parallel with separate roots, as most of the time is spent between attempts.
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (number, words) in [
        "pull \(name)", "cat \(name) model.gguf", "inspect \(name)", "ls \(name)", "save \(name) out.tar",
        "prefetch \(name)", "path \(name)",
      ].enumerated() {
        group.addTask {
          let result = try await WeightfsCommand.run(
            "\(words) --timeout 3 --retry-for 4",
            in: folder,
            root: "root\(number)"
          )
          if fault == .notFound, !isChild, words.hasPrefix("path") {
            // The reference resolved; only the mount is missing.
            #expect(result.error.contains("the path does not exist"), "\(result.error)")
          } else if fault == .notFound, !isChild {
            #expect(result.status == 0, "the tag still resolves to it: \(words): \(result.error)")
          } else {
            #expect([1, 3, 4, 5, 6].contains(result.status), "\(words): \(result.status) \(result.error)")
            #expect(result.error.hasPrefix("weightfs: "), "\(words): \(result.error)")
          }
        }
      }
      try await group.waitForAll()
    }
  }

  @Test func aMountOutlivesEveryDamagedManifest() async throws {
    let mount = try await MountProcess(folder, ["--timeout", "3", "--retry-for", "4"])
    for fault in Fault.allCases {
      for isChild in [false, true] {
        let name = try breakManifest(fault, isChild: isChild)
        let listed = try await Command.shell("ls '\(mount.path(name))'", seconds: 60)
        let isFound = fault == .notFound && !isChild
        #expect(listed.status == (isFound ? 0 : 2), "\(fault) \(isChild): \(listed.error)")
        #expect(kill(mount.process, 0) == 0, "\(fault) \(isChild) killed the daemon")
      }
    }
    let good = try await Command.shell("cat '\(mount.path("\(registry.host)/good/m:t/model.gguf"))' | wc -c")
    #expect(good.output == "5\n", "\(good.error)")
  }

  @Test func aLayoutWithoutItsManifestIsAnError() async throws {
    let layer = Verification.digest(of: [1])
    let index = Index(manifests: [Descriptor(mediaType: .imageManifest, digest: layer, size: 1)])
    try folder.write(Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8), to: "layout/oci-layout")
    try folder.write(try JSONDocument.encode(index), to: "layout/index.json")
    for words in [
      "cat oci:layout model.gguf", "inspect oci:layout", "ls oci:layout", "load layout --as x.io/a:b",
    ] {
      let result = try await WeightfsCommand.run(words, in: folder)
      #expect([1, 3, 5, 6].contains(result.status), "\(words): \(result.status) \(result.error)")
    }
  }
}
