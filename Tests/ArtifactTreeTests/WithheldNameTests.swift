import Archive
import ArtifactTree
import Content
import OCI
import Synchronization
import TestSupport
import Testing

/// Archives are never shown under the names of models; those that cannot be opened have their digests as names.
struct WithheldNameTests {
  private static let title = "org.opencontainers.image.title"
  private static let filepath = "org.cncf.model.filepath"
  private static let unpack = "io.deis.oras.content.unpack"
  private static let oras = "application/vnd.oci.image.layer.v1.tar"

  private static let tar: [UInt8] = {
    var tar = TarMaker()
    tar.add("model.safetensors", content: [1, 2, 3])
    return tar.finished
  }()
  private static let model = ModelFile.safetensors([("a", 64)])

  private func load(
    _ layers: [Descriptor],
    _ bytes: any LayerBytes,
    _ first: FirstBytes = FirstBytes()
  )
    async throws -> FileTree
  {
    let manifest = Manifest(artifactType: MediaType(rawValue: "a/b"), config: nil, layers: layers)
    return try await TreeLoader.fresh(first).load(manifest, bytes: bytes)
  }

  private func paths(_ tree: FileTree) -> [String] { tree.files.map { tree.path(of: $0.node) } }

  @Test func aLayerThatCannotBeVerifiedIsNamedAndTheOthersAreShown() async throws {
    let digest = Verification.digest(of: Self.model)
    let layer = Descriptor(
      mediaType: MediaType(rawValue: "a/b"),
      digest: digest,
      size: Int64(Self.model.count),
      annotations: [Self.title: "adapter.safetensors"]
    )
    var manifest = Manifest(artifactType: MediaType(rawValue: "a/b"), config: nil, layers: [layer])
    let text = Array(
      #"{"layers":[{"digest":"blake3:ab","size":1,"annotations":{"\#(Self.title)":"model.gguf"}}]}"#.utf8
    )
    manifest.foreignLayers = try JSONDocument.decode(Manifest.self, from: text).foreignLayers
    let tree = try await TreeLoader.fresh(FirstBytes()).load(manifest, bytes: MemoryLayers())
    #expect(paths(tree) == ["adapter.safetensors"])
    #expect(tree.problems.count == 1)
    #expect(tree.problems.first?.contains("'model.gguf' is not shown: its digest 'blake3:ab'") ?? false)
    // The model is the file that is missing; 'path' must not name another one.
    #expect(EntryPoint.model(in: tree) == .withheld(tree.withheld[0]))
  }

  @Test(arguments: [
    ("application/vnd.cncf.model.weight.v1.tar", [filepath: "model.safetensors"]),
    ("application/vnd.cncf.model.weight.v1.tar+gzip", [filepath: "weights"]),
    ("application/vnd.cncf.model.weight.v1.tar+zstd", [filepath: "weights.bin"]),
    ("application/vnd.cnai.model.weight.v1.tar", [filepath: "model.gguf"]),
    ("application/vnd.kitops.modelkit.model.v1.tar+gzip", [title: "model"]),
    ("application/vnd.docker.ai.dir.tar", [filepath: "dir.tar"]),
    ("application/vnd.oci.image.layer.v1.tar+gzip", [title: "dir", unpack: "true"]),
    ("application/octet-stream", [title: "dir", unpack: "true"]),
  ])
  func anArchiveThatCannotBeOpenedIsShownUnderItsDigest(
    _ type: String,
    _ annotations: [String: String]
  )
    async throws
  {
    for content in [
      [UInt8](repeating: 7, count: 2000), [0x1f, 0x8b] + Self.tar, Array(Self.tar.prefix(520)),
    ] {
      var bytes = MemoryLayers()
      let layer = bytes.add(content, type, annotations)
      let tree = try await load([layer], bytes)
      let shown = "sha256-\(layer.digest.hex)"
      #expect(paths(tree) == [shown])
      let name = try #require(annotations[Self.filepath] ?? annotations[Self.title])
      #expect(tree.withheld.map(\.path) == [name])
      #expect(tree.withheld.map(\.shownAs) == [shown])
      #expect(tree.problems.count == 1)
      for part in [name, shown, type] { #expect(tree.problems[0].contains(part), "\(tree.problems)") }
      #expect(EntryPoint.model(in: tree) == .withheld(tree.withheld[0]))
    }
  }

  @Test func typesThatFilesAndTarsShareAreToldByTheFirstBytes() async throws {
    var bytes = MemoryLayers()
    let layers = [
      bytes.add(Self.model, Self.oras, [Self.title: "good.safetensors"]),
      bytes.add(Self.tar, Self.oras, [Self.title: "bad.safetensors"]),
      bytes.add([0x1f, 0x8b] + Self.tar, Self.oras + "+gzip", [Self.title: "bad.gguf"]),
      bytes.add(Array("GGUF".utf8) + Self.tar, "application/x-tar", [Self.title: "good.gguf"]),
      bytes.add(Array("neither".utf8), Self.oras, [Self.title: "text.gguf"]),
      // Names that promise no format are not checked.
      bytes.add([7] + Self.tar, Self.oras, [Self.title: "model.nemo"]),
    ]
    let tree = try await load(layers, bytes)
    let raw = [2, 4].map { "sha256-\(layers[$0].digest.hex)" }.sorted()
    // The tar under the name of a model is opened, and its member is the model.
    #expect(paths(tree) == ["good.gguf", "good.safetensors", "model.nemo", "model.safetensors"] + raw)
    #expect(tree.withheld.map(\.path) == ["bad.gguf", "text.gguf"])
    #expect(tree.withheld[0].reason.contains("gzip"))
    #expect(tree.withheld[1].reason.contains("'GGUF'"))
  }

  /// Counts the bytes read, and the reads in parallel.
  private final class CountingLayers: LayerBytes {
    let layers: MemoryLayers
    let counts = Mutex((reads: 0, open: 0, most: 0, bytes: 0))
    let fails: Bool

    func compression(of layer: Descriptor) -> Compression? { nil }

    func unpacked(
      _ layer: Descriptor,
      _ compression: Compression
    ) async throws(ContentError) -> Descriptor { try await layers.unpacked(layer, compression) }

    init(_ layers: MemoryLayers, fails: Bool = false) {
      self.layers = layers
      self.fails = fails
    }

    func read(
      _ layer: Descriptor,
      into buffer: UnsafeMutableRawBufferPointer,
      at offset: Int64
    ) throws(ContentError) -> Int {
      counts.withLock { counts in
        counts.reads += 1
        counts.open += 1
        counts.most = max(counts.most, counts.open)
        counts.bytes += buffer.count
      }
      defer { counts.withLock { $0.open -= 1 } }
      guard !fails else { throw ContentError(.unreachable, "host", "down") }
      return try layers.read(layer, into: buffer, at: offset)
    }
  }

  @Test func aTreeReadsAsLittleAsItCan() async throws {
    var memory = MemoryLayers()
    var layers: [Descriptor] = []
    for number in 0..<50 {
      let file = ModelFile.safetensors([("t\(number)", 4096)])
      layers.append(memory.add(file, Self.oras, [Self.title: "m-\(number).safetensors"]))
      layers.append(
        memory.add(file + [1], "application/octet-stream", [Self.title: "o-\(number).safetensors"])
      )
      layers.append(memory.add(file + [2], Self.oras, [Self.title: "o-\(number).bin"]))
    }
    let bytes = CountingLayers(memory)
    let first = FirstBytes()
    #expect(try await load(layers, bytes, first).withheld.isEmpty)
    let counts = bytes.counts.withLock { $0 }
    #expect(counts.reads == 50)
    #expect(counts.bytes <= 50 * 512)
    #expect(counts.most <= FirstBytes.parallelism)
    // Results are cached by digest: another artifact with the same layers causes no reads.
    _ = try await load(layers.reversed(), bytes, first)
    #expect(bytes.counts.withLock { $0.reads } == 50)
    await first.remove(layers[0].digest)
    _ = try await load(layers, bytes, first)
    #expect(bytes.counts.withLock { $0.reads } == 51)
  }

  @Test func bytesThatCannotBeHadSayNothingAndAreAskedForAgain() async throws {
    var memory = MemoryLayers()
    let layer = memory.add(Self.tar, Self.oras, [Self.title: "bad.safetensors"])
    let first = FirstBytes()
    #expect(paths(try await load([layer], CountingLayers(memory, fails: true), first)) == ["bad.safetensors"])
    #expect(paths(try await load([layer], CountingLayers(memory), first)) == ["model.safetensors"])
  }

  @Test func theModelIsNotChosenAmongWhatIsLeft() async throws {
    var bytes = MemoryLayers()
    func file(_ name: String, _ content: [UInt8], _ type: String = "a/b") -> Descriptor {
      bytes.add(content, type, [Self.title: name])
    }
    let packed = "application/vnd.cncf.model.weight.v1.tar"
    let config = file("config.json", [1])
    let shard = file("model-00001-of-00002.safetensors", Self.model)
    let damaged = Array(Self.tar.prefix(520))
    let other = file("model-00002-of-00002.safetensors", damaged, packed)
    #expect(EntryPoint.model(in: try await load([config, shard, other], bytes)).isWithheld)
    let gguf = file("m-00001-of-00002.gguf", [2])
    let second = file("m-00002-of-00002.gguf", damaged + [1], packed)
    #expect(EntryPoint.model(in: try await load([gguf, second], bytes)).isWithheld)
    // The weights may be in the archive, so the configuration alone is not a model.
    let folder = file("weights", damaged + [2], packed)
    #expect(EntryPoint.model(in: try await load([config, folder], bytes)).isWithheld)
    // Files that do not belong to the model have no effect.
    let docs = file("docs", damaged + [3], "application/vnd.cncf.model.doc.v1.tar")
    #expect(EntryPoint.model(in: try await load([file("m.gguf", [3]), docs], bytes)) == .path("m.gguf"))
  }
}

extension EntryPoint.Result {
  fileprivate var isWithheld: Bool { if case .withheld = self { true } else { false } }
}
