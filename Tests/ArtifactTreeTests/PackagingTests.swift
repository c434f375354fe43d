import Archive
@testable import ArtifactTree
import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Each packaging gives files the names that its own tool gives them.
struct PackagingTests {
  private static let title = "org.opencontainers.image.title"
  private static let filepath = "org.cncf.model.filepath"

  private func tar(_ names: [String]) -> [UInt8] {
    var tar = TarMaker()
    for name in names { tar.add(name, content: Array(name.utf8)) }
    return tar.finished
  }

  private func load(
    _ layers: [Descriptor],
    _ bytes: MemoryLayers,
    type: String? = nil,
    config: Descriptor? = nil
  ) async throws -> FileTree {
    let manifest = Manifest(
      artifactType: type.map { MediaType(rawValue: $0) },
      config: config,
      layers: layers
    )
    return try await TreeLoader.fresh().load(manifest, bytes: bytes)
  }

  private func paths(_ tree: FileTree) -> [String] { tree.files.map { tree.path(of: $0.node) } }

  @Test func thePageListsThePackagingsInTheirOrder() throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let page = try String(contentsOf: root.appending(path: "docs/packaging.md"), encoding: .utf8)
    let rows = page.split(separator: "\n").filter { $0.hasPrefix("| ") }.dropFirst().map {
      $0.split(separator: "|")[0].trimmingCharacters(in: .whitespaces)
    }
    #expect(rows == Packagings.all.map(\.title))
    // Every packaging but the last is one of its own: the last recognizes all artifacts.
    let plain = Manifest(artifactType: MediaType(rawValue: "a/b"), config: nil, layers: [])
    #expect(Packagings.all.map { $0.recognizes(plain) } == rows.indices.map { $0 == rows.count - 1 })
  }

  @Test(arguments: ["", "gzip", "zstd"]) func aModelPackOpensItsTars(_ program: String) async throws {
    var bytes = MemoryLayers()
    let content = tar(["weights/a.safetensors", "config.json"])
    let packed = program.isEmpty ? content : try await Compressed.bytes(content, by: program)
    let type = "application/vnd.cncf.model.weight.v1.tar" + (program.isEmpty ? "" : "+\(program)")
    let layers = [
      bytes.add(packed, type, [Self.filepath: "weights"]),
      bytes.add([1], "application/vnd.cncf.model.doc.v1.raw", [Self.filepath: "README.md"]),
      bytes.add(Array("GGUF....".utf8), "application/vnd.cncf.model.weight.v1.gguf"),
      // Not an archive although its media type says so: it is what its name promises.
      bytes.add(
        Array("GGUF,,,,".utf8),
        "application/vnd.cnai.model.weight.v1.tar",
        [Self.filepath: "b.gguf"]
      ),
    ]
    let tree = try await load(layers, bytes, type: "application/vnd.cncf.model.manifest.v1+json")
    #expect(paths(tree) == ["README.md", "b.gguf", "config.json", "model.gguf", "weights/a.safetensors"])
    #expect(tree.withheld.isEmpty)
    #expect(tree.problems.count == 1 && tree.problems[0].contains("promises a tar"), "\(tree.problems)")
  }

  @Test func aModelKitFollowsItsKitfile() async throws {
    var bytes = MemoryLayers()
    let prefix = "application/vnd.kitops.modelkit."
    let kitfile = """
      {"manifestVersion":"1.0","model":{"path":"models/m.gguf","parts":[{"path":"parts/tokenizer.json","digest":"x"}]},
       "code":[{"path":"src"},{"path":"tools/run.sh"}],"docs":[{"path":"README.md"}]}
      """
    let config = bytes.add(Array(kitfile.utf8), prefix + "config.v1+json")
    let layers = [
      bytes.add(Array("GGUFmodel".utf8), prefix + "model.v1.raw"),
      bytes.add(tar(["parts/tokenizer.json"]), prefix + "modelpart.v1.tar"),
      // Kits of earlier versions have no digests, and their tars are relative to the element's directory.
      bytes.add(tar(["src/a.py"]), prefix + "code.v1.tar"),
      bytes.add(
        try await Compressed.bytes(tar(["run.sh"]), by: "gzip -1"),
        prefix + "code.v1.tar+gzip-fastest"
      ),
      bytes.add(try await Compressed.bytes([9, 9], by: "gzip"), prefix + "docs.v1.raw+gzip"),
    ]
    let tree = try await load(layers, bytes, config: config)
    #expect(
      paths(tree) == [
        "Kitfile", "README.md", "models/m.gguf", "parts/tokenizer.json", "src/a.py", "tools/run.sh",
      ]
    )
    let readme = try #require(tree.files.first { tree.path(of: $0.node) == "README.md" })
    #expect(readme.content.size == 2)
    #expect(tree.problems.isEmpty, "\(tree.problems)")
    // Without a readable Kitfile the files are there all the same.
    let broken = bytes.add(Array("{".utf8), prefix + "config.v1+json")
    #expect(paths(try await load(layers, bytes, config: broken)).contains("a.py") == false)
    #expect(paths(try await load(layers, bytes, config: broken)).contains("src/a.py"))
  }

  @Test func layersOfDockerModelRunnerHaveTheNamesOfItsBundle() async throws {
    var bytes = MemoryLayers()
    let prefix = "application/vnd.docker.ai."
    let config = bytes.add(Array("{}".utf8), prefix + "model.config.v0.1+json")
    let one = [
      bytes.add(Array("GGUF".utf8), prefix + "gguf.v3"), bytes.add(Array("GGUF2".utf8), prefix + "mmproj"),
      bytes.add([1], prefix + "chat.template.jinja"), bytes.add([2], prefix + "license"),
      bytes.add([3], prefix + "license"), bytes.add(tar(["tokenizer/x.json"]), prefix + "dir.tar"),
      bytes.add(tar(["config.json"]), prefix + "vllm.config.tar"),
    ]
    #expect(
      paths(try await load(one, bytes, config: config)) == [
        "LICENSE", "LICENSE-2", "config.json", "mmproj.gguf", "model.gguf", "template.jinja",
        "tokenizer/x.json",
      ]
    )
    let two = [
      bytes.add(Array("GGUFa".utf8), prefix + "gguf.v3"), bytes.add(Array("GGUFb".utf8), prefix + "gguf.v3"),
      bytes.add([4], prefix + "model.file", [Self.filepath: "sub/notes.txt"]),
    ]
    let tree = try await load(two, bytes, config: config)
    #expect(paths(tree) == ["model-00001-of-00002.gguf", "model-00002-of-00002.gguf", "sub/notes.txt"])
    #expect(EntryPoint.model(in: tree) == .path("model-00001-of-00002.gguf"))
  }

  @Test func layersOfOMMXAreNumbered() async throws {
    var bytes = MemoryLayers()
    let layers = [
      bytes.add([1], "application/org.ommx.v1.instance"), bytes.add([2], "application/org.ommx.v1.solution"),
      bytes.add([3], "application/vnd.numpy"), bytes.add([4], "application/vnd.apache.parquet"),
      bytes.add([5], "application/org.ommx.v2.parametric-instance"), bytes.add([6], "image/png"),
    ]
    let tree = try await load(layers, bytes, type: "application/org.ommx.v1.artifact")
    #expect(
      paths(tree) == [
        "00-instance.pb", "01-solution.pb", "02-array.npy", "03-table.parquet", "04-parametric-instance.pb",
        "05-png",
      ]
    )
  }

  @Test func anImageWithModelsShowsThem() async throws {
    func image(_ tars: [[UInt8]]) async throws -> FileTree {
      var bytes = MemoryLayers()
      let config = bytes.add(Array("{}".utf8), "application/vnd.oci.image.config.v1+json")
      let layers = tars.map { bytes.add($0, "application/vnd.oci.image.layer.v1.tar") }
      return try await load(layers, bytes, config: config)
    }
    // The base image of olot and of ramalama's cars.
    let base = tar(["bin/sh", "etc/passwd"])
    #expect(paths(try await image([base, tar(["models/m.gguf", "models/sub/x"])])) == ["m.gguf", "sub/x"])
    #expect(paths(try await image([base])) == ["bin/sh", "etc/passwd"])
    var link = TarMaker()
    link.add("blobs/m.gguf", content: Array("GGUF".utf8))
    link.add("models/readme", content: [1])
    link.add("models/m.gguf", type: "2", target: "../blobs/m.gguf")
    // The link would lead out of the tree.
    #expect(paths(try await image([link.finished])) == ["blobs/m.gguf", "models/readme"])
    var empty = TarMaker()
    empty.add("models/", type: "5")
    #expect(try await image([empty.finished]).node(at: "models") != nil)
  }

  // `..` after a link is the parent of the directory that the link leads to, not of the link.
  @Test func aTargetThatLeadsUpFromALinkIsTheKernels() async throws {
    var tar = TarMaker()
    for (name, target) in [
      ("l", "sl/../x"), ("o/l3", "../sl/../x"), ("abs", "/sl/../x"), ("none", "missing/../x"),
      ("up", "sl/.."), ("out", "loop/../../../../x"),
    ] { tar.add(name, type: "2", target: target) }
    tar.add("sl", type: "2", target: "deep/dir")
    tar.add("loop", type: "2", target: ".")
    tar.add("deep/dir/f", content: [1])
    tar.add("deep/x", content: Array("deep".utf8))
    tar.add("x", content: Array("top".utf8))
    var bytes = MemoryLayers()
    let layer = bytes.add(tar.finished, "application/vnd.oci.image.layer.v1.tar")
    let config = bytes.add(Array("{}".utf8), "application/vnd.oci.image.config.v1+json")
    let tree = try await load([layer], bytes, config: config)
    func target(_ path: String) -> String? {
      guard let node = tree.node(at: path), case .symbolicLink(let text) = tree.nodes[node].kind else {
        return nil
      }
      return String(decoding: text, as: UTF8.self)
    }
    #expect(target("l") == "deep/x")
    #expect(target("o/l3") == "../deep/x")
    #expect(target("abs") == "deep/x")
    #expect(target("none") == "x", "a target that leads nowhere keeps its spelling")
    #expect(target("up") == "deep")
    #expect(target("out") == "x", "the root is its own parent")
  }

  @Test func aDirectoryOfORASIsOpened() async throws {
    var bytes = MemoryLayers()
    let packed = try await Compressed.bytes(tar(["dir/f", "dir/sub/g"]), by: "gzip")
    let layer = bytes.add(
      packed,
      "application/vnd.oci.image.layer.v1.tar+gzip",
      [Self.title: "dir", "io.deis.oras.content.unpack": "true"]
    )
    let tree = try await load([layer], bytes, type: "application/vnd.unknown.artifact.v1")
    #expect(paths(tree) == ["dir/f", "dir/sub/g"])
  }

  /// oras-py packs directories without the mark; Python's tarfile writes extended headers for times.
  @Test(arguments: [nil, "gzip"])
  func aDirectoryWithoutAMarkIsOpenedIfItsMembersAreBelowItsName(_ program: String?) async throws {
    for name in ["sub", "other"] {
      var bytes = MemoryLayers()
      var packed = try await Self.tarOfPython("sub")
      if let program { packed = try await Compressed.bytes(packed, by: program) }
      let type = "application/vnd.oci.image.layer.v1.tar" + (program == nil ? "" : "+gzip")
      let layer = bytes.add(packed, type, [Self.title: name])
      let tree = try await load([layer], bytes, type: "application/vnd.unknown.artifact.v1")
      #expect(paths(tree) == (name == "sub" ? ["sub/f"] : ["other"]))
    }
  }

  private static func tarOfPython(_ directory: String) async throws -> [UInt8] {
    let folder = try TemporaryFolder()
    try folder.write([1, 2, 3], to: "\(directory)/f")
    let program = "import sys, tarfile; t = tarfile.open(sys.argv[1], 'w'); t.add(sys.argv[2], sys.argv[3])"
    let paths = [folder.path("t.tar"), folder.path(directory), directory]
    let result = try await Command.run(["python3", "-c", program] + paths)
    try #require(result.status == 0, "\(result)")
    return try folder.read("t.tar")
  }

  @Test(arguments: [1, 251, 252, 255])
  func aNameOfAnyLengthCanBeWhitedOut(_ length: Int) async throws {
    var bytes = MemoryLayers()
    let name = String(repeating: "n", count: length)
    let type = "application/vnd.oci.image.layer.v1.tar"
    let layers = [bytes.add(tar(["d/\(name)", "d/stays"]), type), bytes.add(tar(["d/.wh.\(name)"]), type)]
    let config = bytes.add(Array("{}".utf8), "application/vnd.oci.image.config.v1+json")
    let tree = try await load(layers, bytes, config: config)
    #expect(paths(tree) == ["d/stays"])
    #expect(tree.problems.isEmpty)
  }

  @Test func whiteoutsAreThoseOfImagesOnly() async throws {
    var bytes = MemoryLayers()
    let type = "application/vnd.cncf.model.code.v1.tar"
    let layers = [bytes.add(tar(["a", "b"]), type), bytes.add(tar([".wh.a"]), type)]
    let tree = try await load(layers, bytes, type: "application/vnd.cncf.model.manifest.v1+json")
    #expect(paths(tree) == [".wh.a", "a", "b"])
  }

  @Test(arguments: [
    (["m-00001-of-00003.gguf", "m-00003-of-00003.gguf"], ["m-00002-of-00003.gguf"]),
    (["model-00001-of-00002.safetensors", "config.json"], ["model-00002-of-00002.safetensors"]),
    (["a/m-1-of-2.gguf", "b/m-2-of-2.gguf"], ["a/m-2-of-2.gguf", "b/m-1-of-2.gguf"]),
    (["m-00001-of-00001.gguf"], []), (["m-00002-of-00001.gguf", "m-0-of-0.gguf", "of-2.gguf"], []),
  ])
  func aMissingShardIsNamed(_ names: [String], _ missing: [String]) async throws {
    var bytes = MemoryLayers()
    let layers = names.enumerated().map { bytes.add([UInt8($0.offset)], "a/b", [Self.title: $0.element]) }
    let tree = try await load(layers, bytes, type: "a/b")
    #expect(tree.missingShards == missing)
    if missing.count == 1 { #expect(EntryPoint.model(in: tree) == .incomplete(missing)) }
  }

  @Test func anIndexOfSafetensorsNamesTheFilesThatAreAbsent() async throws {
    var bytes = MemoryLayers()
    let index =
      #"{"metadata": {}, "weight_map": {"a": "x.safetensors", "b": "y.safetensors", "c": "y.safetensors"}}"#
    let layers = [
      bytes.add(Array(index.utf8), "a/b", [Self.title: "unet/model.safetensors.index.json"]),
      bytes.add([1], "a/b", [Self.title: "unet/x.safetensors"]),
      bytes.add(Array("{".utf8), "a/b", [Self.title: "other/model.safetensors.index.json"]),
    ]
    let tree = try await load(layers, bytes, type: "a/b")
    #expect(tree.missingShards == ["unet/y.safetensors"])
    #expect(EntryPoint.model(in: tree) == .incomplete(["unet/y.safetensors"]))
    let complete = layers + [bytes.add([2], "a/b", [Self.title: "unet/y.safetensors"])]
    #expect(try await load(complete, bytes, type: "a/b").missingShards.isEmpty)
  }

  @Test func aLayerThatDecompressesToAnotherDigestIsRefused() async throws {
    let plain = tar(["a"])
    let packed = try await Compressed.bytes(plain, by: "gzip")
    let (right, wrong) = (Verification.digest(of: plain), Verification.digest(of: [1]))
    let image = "application/vnd.oci.image.layer.v1.tar+gzip"
    for (identifiers, isShown) in [([right], true), ([wrong], false), ([right, right], true), ([], true)] {
      var bytes = MemoryLayers()
      let list = identifiers.map { "\"\($0)\"" }.joined(separator: ",")
      let text = #"{"rootfs": {"type": "layers", "diff_ids": [\#(list)]}}"#
      let config = bytes.add(Array(text.utf8), "application/vnd.oci.image.config.v1+json")
      let layer = bytes.add(packed, image)
      if isShown {
        #expect(paths(try await load([layer], bytes, config: config)) == ["a"])
      } else {
        let error = await #expect(throws: ContentError.self) {
          try await load([layer], bytes, config: config)
        }
        #expect("\(error.map { "\($0)" } ?? "")".contains("\(wrong)"))
      }
    }
    // Layers that do not change each other stay, under their digests.
    var bytes = MemoryLayers()
    let annotations = [
      Self.title: "dir", "io.deis.oras.content.unpack": "true", "io.deis.oras.content.digest": "\(wrong)",
    ]
    let layer = bytes.add(packed, image, annotations)
    let tree = try await load([layer], bytes, type: "a/b")
    #expect(paths(tree) == ["sha256-\(layer.digest.hex)"])
    #expect(tree.problems.count == 1 && tree.problems[0].contains("\(right)"))
  }

  @Test func aNameThatClaimsMillionsOfShardsCostsNothing() {
    let missing = Shards.missing(among: ["m-000000001-of-999999999.gguf"])
    #expect(missing.count == 100)
  }
}
