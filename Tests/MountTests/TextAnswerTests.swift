import Content
import Foundation
import OCI
import TestSupport
import Testing

/// A text in place of a model, as proxies and storage hosts answer it with status 200, through the kernel.
@Suite(.serialized) struct TextAnswerTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
  }

  @Test func aTextInPlaceOfAModelIsRefusedByTheNameOfTheFileAndNotKept() async throws {
    let models: [(tag: String, name: String, bytes: [UInt8], reason: String)] = [
      ("g", "model.gguf", ModelFile.gguf(300_000, seed: 21), "a GGUF file starts with 'GGUF'"),
      ("s", "model.safetensors", ModelFile.safetensors([("a", 300_000)]), "the header length is"),
    ]
    let blobs = models.map { (digest: Verification.digest(of: $0.bytes).hex, size: $0.bytes.count) }
    for model in models {
      try registry.add(files: [model.name: model.bytes], repository: "acme/m", tag: model.tag)
    }
    // As long as the blob, and no page of HTML.
    let text = Array(String(repeating: "Please accept the licence. ", count: 20_000).utf8)
    registry.setFault { request, _ in
      guard let blob = blobs.first(where: { request.path.hasSuffix("/blobs/sha256:\($0.digest)") }) else {
        return nil
      }
      return .init(200, headers: [("Content-Type", "text/plain")], body: Array(text.prefix(blob.size)))
    }
    let mount = try await MountProcess(folder)
    for model in models {
      let path = mount.path("\(registry.host)/acme/m:\(model.tag)/\(model.name)")
      let read = try await Command.shell("head -c 100 '\(path)'")
      #expect(read.output.isEmpty && read.error.contains("Input/output error"), "\(read.output)\(read.error)")
      let told = "Content-Type: text/plain, in place of the blob: \(model.reason)"
      #expect(mount.messages.contains(told), "\(told): \(mount.messages)")
    }
    let kept = try await Command.run(["grep", "-rl", "accept the licence", folder.path("root")])
    #expect(kept.output.isEmpty, "\(kept.output)")
  }

  @Test func aModelThatIsDeclaredAsTextIsServed() async throws {
    let model = ModelFile.gguf(300_000, seed: 22)
    try registry.add(files: ["model.gguf": model], repository: "acme/m", tag: "t")
    let digest = Verification.digest(of: model).hex
    registry.setFault { request, _ in
      guard request.path.hasSuffix("/blobs/sha256:\(digest)") else { return nil }
      return .init(200, headers: [("Content-Type", "text/plain")], body: model)
    }
    let mount = try await MountProcess(folder)
    let read = try await Command.shell("sha256sum '\(mount.path("\(registry.host)/acme/m:t/model.gguf"))'")
    #expect(read.output.hasPrefix(digest), "\(read.error)\(mount.messages)")
    withExtendedLifetime(mount) {}
  }
}
