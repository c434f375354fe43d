import ArtifactTree
import Content
import Foundation
import OCI
import TestSupport
import Testing

struct TreeLoaderTests {
  private static let title = "org.opencontainers.image.title"
  private static let filepath = "org.cncf.model.filepath"
  private static let legacy = "org.cnai.model.filepath"
  private static let metadata = "org.cncf.model.file.metadata+json"

  private func load(
    _ layers: [Descriptor],
    _ bytes: MemoryLayers,
    isImage: Bool = false,
    annotations: [String: String] = [:]
  ) async throws -> FileTree {
    let config = Descriptor(
      mediaType: isImage ? .imageConfig : .empty,
      digest: Verification.digest(of: []),
      size: 0
    )
    let manifest = Manifest(
      artifactType: isImage ? nil : MediaType(rawValue: "a/b"),
      config: config,
      layers: layers,
      annotations: annotations
    )
    return try await TreeLoader.fresh().load(
      manifest,
      bytes: bytes
    )
  }

  private func paths(_ tree: FileTree) -> [String] { tree.files.map { tree.path(of: $0.node) } }

  @Test func namesComeFromAnnotationsInTheirOrder() async throws {
    var bytes = MemoryLayers()
    let layers = [
      bytes.add([1], "a/b", [Self.filepath: "dir/one", Self.title: "x", Self.metadata: #"{"name":"y"}"#]),
      bytes.add([2], "a/b", [Self.legacy: "two", Self.title: "x"]),
      bytes.add([3], "a/b", [Self.title: "three", Self.metadata: #"{"name":"y"}"#]),
      bytes.add(
        [4],
        "a/b",
        [Self.metadata: #"{"name":"sub/four","mode":493,"mtime":"1970-01-01T00:00:09Z"}"#]
      ),
      bytes.add([5]),
      bytes.add(Array("{}".utf8), "application/vnd.oci.empty.v1+json"),
    ]
    let tree = try await load(layers, bytes)
    #expect(paths(tree) == ["dir/one", "sha256-\(layers[4].digest.hex)", "sub/four", "three", "two"])
    let four = try #require(tree.node(at: "sub/four").map { tree.nodes[$0] })
    #expect(four.mode == 0o555)
    #expect(four.modificationTime == 9)
    #expect(tree.problems.isEmpty)
  }

  @Test func timesComeFromTheArtifactElseAreZero() async throws {
    var bytes = MemoryLayers()
    let layer = bytes.add([1], "a/b", [Self.title: "x"])
    let tree = try await load(
      [layer],
      bytes,
      annotations: ["org.opencontainers.image.created": "1970-01-01T00:01:00Z"]
    )
    #expect(tree.nodes.allSatisfy { $0.modificationTime == 60 })
    #expect(try await load([layer], bytes).nodes.allSatisfy { $0.modificationTime == 0 })
  }

  @Test(arguments: [
    "../x", "/etc/passwd", "a\0b", String(repeating: "n", count: 5000), "..", "a/../../b", "./",
  ])
  func aHostileNameCostsOnlyTheName(_ name: String) async throws {
    var bytes = MemoryLayers()
    let bad = bytes.add([1], "a/b", [Self.title: name])
    let good = bytes.add([2], "a/b", [Self.title: "good"])
    let tree = try await load([bad, good], bytes)
    #expect(paths(tree) == ["good", "sha256-\(bad.digest.hex)"])
    #expect(tree.problems.count == 1)
  }

  @Test func layersOfOllamaAreNamedByTheirType() async throws {
    var bytes = MemoryLayers()
    let prefix = "application/vnd.ollama.image."
    var layers = ["model", "projector", "params", "license", "license", "unheard-of"].enumerated().map {
      bytes.add([UInt8($0.offset)], prefix + $0.element)
    }
    var config = bytes.add([100], prefix + "json")
    config.name = "text_encoder/config.json"
    var tensor = bytes.add([101], prefix + "tensor")
    tensor.name = "../../etc/passwd"
    layers += [config, tensor]
    let tree = try await load(layers, bytes)
    let paths = tree.files.map { tree.path(of: $0.node) }.filter { !$0.hasPrefix("sha256-") }.sorted()
    #expect(
      paths == [
        "LICENSE", "LICENSE-2", "mmproj.gguf", "model.gguf", "params.json", "text_encoder/config.json",
      ]
    )
    #expect(tree.files.count == 8, "a layer without a name is named by its digest")
  }

  @Test func twoLayersWithOneNameAreBothThere() async throws {
    var bytes = MemoryLayers()
    let first = bytes.add([1], "a/b", [Self.title: "x"])
    let second = bytes.add([2], "a/b", [Self.title: "x"])
    let below = bytes.add([3], "a/b", [Self.title: "x/y"])
    let tree = try await load([first, second, below, first], bytes)
    #expect(Set(paths(tree)) == ["x", "sha256-\(second.digest.hex)", "sha256-\(below.digest.hex)"])
    #expect(tree.files.first { tree.path(of: $0.node) == "x" }?.content.blob.digest == first.digest)
    #expect(tree.problems.count == 2)
  }

  @Test func aTarTypeInAnArtifactIsAFile() async throws {
    var bytes = MemoryLayers()
    let layer = bytes.add(
      Array("GGUF".utf8),
      "application/vnd.oci.image.layer.v1.tar",
      [Self.title: "model.gguf"]
    )
    #expect(paths(try await load([layer], bytes)) == ["model.gguf"])
  }

  // MARK: Images

  private func tar(_ script: String) async throws -> [UInt8] {
    let folder = try TemporaryFolder()
    let result = try await Command.shell(
      "mkdir '\(folder.path("in"))' && cd '\(folder.path("in"))' && \(script) && tar --sort=name -cf ../out.tar ."
    )
    try #require(result.status == 0, "\(result.error)")
    return try folder.read("out.tar")
  }

  private static let tarType = "application/vnd.oci.image.layer.v1.tar"

  @Test func membersAreRangesOfTheirLayer() async throws {
    var bytes = MemoryLayers()
    let layer = bytes.add(
      try await tar(
        "mkdir models && printf hello >models/a && ln -s a models/link && ln models/a models/hard"
      ),
      Self.tarType
    )
    let tree = try await load([layer], bytes, isImage: true)
    let node = try #require(tree.node(at: "a"))
    guard case .file(let content) = tree.nodes[node].kind else { return }
    let all = try #require(bytes.contents[layer.digest])
    #expect(Array(all[Int(content.range.lowerBound)..<Int(content.range.upperBound)]) == Array("hello".utf8))
    let link = try #require(tree.node(at: "link"))
    guard case .symbolicLink(let target) = tree.nodes[link].kind else {
      Issue.record("no link")
      return
    }
    #expect(target == Array("a".utf8))
    let hard = try #require(tree.node(at: "hard"))
    guard case .file(let same) = tree.nodes[hard].kind else { return }
    #expect(same == content)
  }

  @Test func laterLayersReplaceAndWhiteOut() async throws {
    var bytes = MemoryLayers()
    let layers = [
      bytes.add(
        try await tar(
          "mkdir -p d/e o && echo 1 >d/e/x && echo 1 >d/keep && echo 1 >gone && echo 1 >o/old && echo 1 >same"
        ),
        Self.tarType
      ),
      bytes.add(
        try await tar(
          "mkdir -p d o && touch .wh.gone d/.wh.e && echo 2 >o/new && touch o/.wh..wh..opq && echo 22 >same"
        ),
        Self.tarType
      ),
    ]
    let tree = try await load(layers, bytes, isImage: true)
    #expect(paths(tree) == ["d/keep", "o/new", "same"])
    let same = try #require(tree.files.first { tree.path(of: $0.node) == "same" })
    #expect(same.content.size == 3)
    #expect(same.content.blob.digest == layers[1].digest)
  }

  @Test func linksThatLeadAboveTheRootStayInIt() async throws {
    var bytes = MemoryLayers()
    let script = """
      echo 1 >good && ln -s ../../../etc/passwd bad && ln -s /good absolute && mkfifo pipe && ln -s good dir \
      && tar -cf ../x.tar --transform 's,good,../evil,' good && tar -Af ../x.tar ../x.tar 2>/dev/null; true
      """
    let layer = bytes.add(try await tar(script), Self.tarType)
    let tree = try await load([layer], bytes, isImage: true)
    #expect(paths(tree) == ["good"])
    let bad = try #require(tree.node(at: "bad"))
    guard case .symbolicLink(let clamped) = tree.nodes[bad].kind else { return }
    #expect(clamped == Array("etc/passwd".utf8))
    #expect(tree.node(at: "pipe") == nil)
    let absolute = try #require(tree.node(at: "absolute"))
    guard case .symbolicLink(let target) = tree.nodes[absolute].kind else { return }
    #expect(target == Array("good".utf8))
    #expect(tree.problems.count == 1)
  }

  @Test func aDamagedTarLayerIsAClearError() async throws {
    var bytes = MemoryLayers()
    let layer = bytes.add(Array(try await tar("head -c 100000 /dev/zero >x").prefix(50_000)), Self.tarType)
    await #expect(throws: ContentError.self) { try await load([layer], bytes, isImage: true) }
  }
}

struct EntryPointTests {
  private func tree(_ paths: [String]) async throws -> FileTree {
    var bytes = MemoryLayers()
    var layers: [Descriptor] = []
    for (index, path) in paths.enumerated() {
      layers.append(bytes.add([UInt8(index), 7], "a/b", ["org.opencontainers.image.title": path]))
    }
    let manifest = Manifest(artifactType: MediaType(rawValue: "a/b"), config: nil, layers: layers)
    return try await TreeLoader.fresh().load(
      manifest,
      bytes: bytes
    )
  }

  @Test(arguments: [
    (["model.gguf", "mmproj.gguf", "README.md"], EntryPoint.Result.path("model.gguf")),
    (["m-00002-of-00002.gguf", "m-00001-of-00002.gguf"], .path("m-00001-of-00002.gguf")),
    (["a/model-1.safetensors", "a/model-2.safetensors", "a/config.json"], .path("a")),
    (["model.safetensors", "config.json"], .path("")),
    (["model_index.json", "unet/x.safetensors", "vae/y.safetensors"], .path("")),
    (["x.bin"], .path("x.bin")),
    (["a.gguf", "b.gguf"], .ambiguous(["a.gguf", "b.gguf"])),
    ([], .none),
  ])
  func findsWhatAnEngineOpens(_ paths: [String], _ expected: EntryPoint.Result) async throws {
    #expect(EntryPoint.model(in: try await tree(paths)) == expected)
  }

  @Test func theLinkOfARamalamaImageLeadsToTheModel() async throws {
    var tar = TarMaker()
    tar.add("models/tiny/tiny", content: Array("GGUF".utf8))
    tar.add("models/tiny/config.json", content: Array("{}".utf8))
    tar.add("models/model.file", type: "2", target: "tiny/tiny")
    var bytes = MemoryLayers()
    let layer = bytes.add(tar.finished, "application/vnd.oci.image.layer.v1.tar")
    let config = bytes.add(Array("{}".utf8), "application/vnd.oci.image.config.v1+json")
    let tree = try await TreeLoader.fresh().load(Manifest(config: config, layers: [layer]), bytes: bytes)
    #expect(EntryPoint.model(in: tree) == .path("model.file"))
    let complete = try await TreeLoader.fresh(showsCompleteImages: true).load(
      Manifest(config: config, layers: [layer]),
      bytes: bytes
    )
    #expect(EntryPoint.model(in: complete) == .path("models/model.file"))
  }

  @Test func findsTheProjector() async throws {
    #expect(
      EntryPoint.projector(in: try await tree(["m.gguf", "x/mmproj-f16.gguf"])) == .path("x/mmproj-f16.gguf")
    )
    #expect(EntryPoint.projector(in: try await tree(["m.gguf"])) == .none)
  }
}
