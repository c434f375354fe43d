import Content
package import OCI

/// An artifact that a malicious or broken tool could have created; the same for the same seed.
package struct HostileArtifact {
  /// The document published under the tag: a manifest, an index, or invalid bytes.
  package private(set) var document: (bytes: [UInt8], type: MediaType)
  /// The referenced content by digest; some of it is missing.
  package private(set) var blobs: [Digest: [UInt8]] = [:]
  /// The kind of the artifact, for messages.
  package let kind: String

  private static let title = "org.opencontainers.image.title"
  private static let filepath = "org.cncf.model.filepath"

  /// Creates the artifact of a seed.
  package init(seed: UInt64) {
    var chance = SeededGenerator(seed: seed)
    document = ([], .imageManifest)
    switch Int.random(in: 0..<10, using: &chance) {
    case 0:
      kind = "names"
      makeNames(&chance)
    case 1:
      kind = "image"
      makeImage(&chance)
    case 2:
      kind = "damaged tar"
      makeDamagedTar(&chance)
    case 3:
      kind = "model header"
      makeModel(&chance)
    case 4:
      kind = "index"
      makeIndex(&chance)
    case 5:
      kind = "many layers"
      makeMany(&chance)
    case 6:
      kind = "mutated JSON"
      makeNames(&chance)
      document.bytes = Self.mutated(document.bytes, &chance)
    case 7:
      kind = "compressed"
      makeCompressed(&chance)
    case 8:
      kind = "packaging"
      makePackaging(&chance)
    default:
      kind = "hostile JSON"
      document.bytes = Self.json(&chance)
    }
    // Some blobs are missing, or do not match their digest.
    for digest in blobs.keys.sorted(by: { $0.hex < $1.hex }) where Int.random(in: 0..<12, using: &chance) == 0
    {
      blobs[digest] = Bool.random(using: &chance) ? nil : Self.mutated(blobs[digest] ?? [], &chance)
    }
  }

  // MARK: Kinds

  private mutating func makeNames(_ chance: inout SeededGenerator) {
    let layers = (0..<Int.random(in: 1...12, using: &chance)).map { _ in
      let file = chance.bytes(Int.random(in: 0...5000, using: &chance))
      var layer = add(file, Self.types.randomElement(using: &chance) ?? "")
      for _ in 0..<Int.random(in: 0...2, using: &chance) {
        let key = [
          Self.title, Self.filepath, "org.cncf.model.file.metadata+json", "io.deis.oras.content.unpack",
        ]
        layer.annotations[key.randomElement(using: &chance) ?? ""] = Self.name(&chance)
      }
      if Int.random(in: 0..<10, using: &chance) == 0 { layer.size = Self.size(&chance) }
      if Int.random(in: 0..<10, using: &chance) == 0 { layer.data = file + [0] }
      return layer
    }
    publish(layers, config: .empty, &chance)
  }

  private mutating func makeImage(_ chance: inout SeededGenerator) {
    let layers = (0..<Int.random(in: 1...4, using: &chance)).map { _ in
      add(Self.tar(&chance), "application/vnd.oci.image.layer.v1.tar")
    }
    publish(layers, config: .imageConfig, &chance)
  }

  private mutating func makeDamagedTar(_ chance: inout SeededGenerator) {
    var bytes = Self.mutated(Self.tar(&chance), &chance)
    if Bool.random(using: &chance) {
      bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &chance)))
    }
    let types = [
      "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip",
      "application/vnd.docker.image.rootfs.diff.tar",
    ]
    publish([add(bytes, types.randomElement(using: &chance) ?? "")], config: .imageConfig, &chance)
  }

  /// Layers that are compressed, say so, or neither; some of them damaged, one a bomb.
  private mutating func makeCompressed(_ chance: inout SeededGenerator) {
    let isImage = Bool.random(using: &chance)
    let layers = (0..<Int.random(in: 1...3, using: &chance)).map { _ in
      var bytes = Self.tar(&chance)
      switch Int.random(in: 0..<6, using: &chance) {
      case 0: bytes = StoredStream.bomb(blocks: Int.random(in: 1...600, using: &chance))
      case 1, 2: bytes = StoredStream.zstd(bytes)
      case 3, 4: bytes = StoredStream.gzip(bytes)
      default: break
      }
      // A second member or frame, or something else after the end.
      if Int.random(in: 0..<4, using: &chance) == 0 { bytes += Bool.random(using: &chance) ? bytes : [0, 1] }
      if Int.random(in: 0..<3, using: &chance) == 0 { bytes = Self.mutated(bytes, &chance) }
      let tar =
        isImage ? "application/vnd.oci.image.layer.v1.tar" : "application/vnd.cncf.model.weight.v1.tar"
      return add(bytes, tar + (["", "+gzip", "+zstd"].randomElement(using: &chance) ?? ""))
    }
    publish(layers, config: isImage ? .imageConfig : .empty, &chance)
  }

  /// Media types of all packagings with content of any kind, and a Kitfile that may be hostile.
  private mutating func makePackaging(_ chance: inout SeededGenerator) {
    let kit = "application/vnd.kitops.modelkit."
    let types = [
      kit + "model.v1.tar", kit + "model.v1.raw+gzip", kit + "code.v1.tar+zstd", kit + "docs.v1.raw",
      "application/vnd.docker.ai.gguf.v3", "application/vnd.docker.ai.dir.tar",
      "application/vnd.docker.ai.license",
      "application/vnd.cncf.model.code.v1.tar", "application/vnd.ollama.image.tensor",
      "application/org.ommx.v1.instance",
    ]
    let layers = (0..<Int.random(in: 1...6, using: &chance)).map { _ in
      let bytes = Bool.random(using: &chance) ? Self.tar(&chance) : chance.bytes(300)
      var layer = add(bytes, types.randomElement(using: &chance) ?? "")
      if Bool.random(using: &chance) { layer.name = Self.name(&chance) }
      return layer
    }
    let path = Self.name(&chance).replacing("\"", with: "").replacing("\u{0}", with: "")
    let kitfile =
      Bool.random(using: &chance)
      ? Self.json(&chance)
      : Array(
        #"{"model":{"path":"\#(path)","parts":[{"path":"\#(path)/x"}]},"code":[{"path":"../../x"}]}"#.utf8
      )
    publish(layers, config: MediaType(rawValue: kit + "config.v1+json"), &chance)
    guard Bool.random(using: &chance),
      let manifest = try? JSONDocument.decode(Manifest.self, from: document.bytes)
    else { return }
    var other = manifest
    other.config = add(kitfile, kit + "config.v1+json")
    document.bytes = Self.encoded(other)
  }

  private mutating func makeModel(_ chance: inout SeededGenerator) {
    var bytes: [UInt8]
    let name: String
    if Bool.random(using: &chance) {
      name = "model.gguf"
      bytes = Array("GGUF".utf8) + ModelFile.littleEndian(UInt32(3))
      for _ in 0..<2 { bytes += ModelFile.littleEndian(Self.count(&chance)) }
      for _ in 0..<40 { bytes += ModelFile.littleEndian(Self.count(&chance)) }
    } else {
      name = "model.safetensors"
      let header =
        Bool.random(using: &chance)
        ? Self.json(&chance)
        : Self.mutated(
          Array(#"{"a":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}"#.utf8),
          &chance
        )
      let length = Bool.random(using: &chance) ? UInt64(header.count) : Self.count(&chance)
      bytes = ModelFile.littleEndian(length) + header
    }
    bytes += chance.bytes(Int.random(in: 0...200_000, using: &chance))
    var layer = add(bytes, Self.types.randomElement(using: &chance) ?? "")
    layer.annotations[Self.title] = name
    publish([layer], config: .empty, &chance)
  }

  private mutating func makeIndex(_ chance: inout SeededGenerator) {
    makeNames(&chance)
    var entries: [Descriptor] = []
    for _ in 0..<Int.random(in: 0...6, using: &chance) {
      var entry = add(document.bytes, document.type.rawValue)
      switch Int.random(in: 0..<6, using: &chance) {
      case 0: entry.mediaType = MediaType(rawValue: Self.name(&chance))
      case 1: entry.size = Self.size(&chance)
      case 2: entry.platform = Platform(architecture: Self.name(&chance), os: "linux")
      case 3: entry.digest = Verification.digest(of: chance.bytes(8))
      default: break
      }
      entries.append(entry)
    }
    // Indexes nested deeper than any tool creates them.
    for _ in 0..<Int.random(in: 0...8, using: &chance) {
      let bytes = Self.encoded(Index(manifests: entries))
      entries = [add(bytes, MediaType.imageIndex.rawValue)]
    }
    document = (Self.encoded(Index(manifests: entries)), .imageIndex)
  }

  private mutating func makeMany(_ chance: inout SeededGenerator) {
    let count = Int.random(in: 100...8000, using: &chance)
    let shared = add(chance.bytes(100), "a/b")
    let layers = (0..<count).map { number in
      var layer = shared
      layer.digest =
        Bool.random(using: &chance)
        ? shared.digest : Verification.digest(of: ModelFile.littleEndian(UInt64(number)))
      layer.size = layer.digest == shared.digest ? shared.size : 8
      layer.annotations[Self.title] = Bool.random(using: &chance) ? "f\(number)" : Self.name(&chance)
      return layer
    }
    publish(layers, config: .empty, &chance)
  }

  private mutating func add(_ bytes: [UInt8], _ type: String) -> Descriptor {
    let digest = Verification.digest(of: bytes)
    blobs[digest] = bytes
    return Descriptor(mediaType: MediaType(rawValue: type), digest: digest, size: Int64(bytes.count))
  }

  private mutating func publish(_ layers: [Descriptor], config: MediaType, _ chance: inout SeededGenerator) {
    var manifest = Manifest(
      artifactType: config == .empty ? MediaType(rawValue: "a/b") : nil,
      config: add(Array("{}".utf8), config.rawValue),
      layers: layers
    )
    if Int.random(in: 0..<4, using: &chance) == 0 {
      manifest.annotations[Self.name(&chance)] = Self.name(&chance)
    }
    document = (Self.encoded(manifest), .imageManifest)
  }

  // MARK: Parts

  private static let types = [
    "application/octet-stream", "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.cncf.model.weight.v1.raw", "application/vnd.cncf.model.weight.v1.tar+gzip",
    "application/vnd.ollama.image.model", "application/vnd.oci.empty.v1+json", "", "\u{1b}[31m/\u{202e}",
  ]

  private static func name(_ chance: inout SeededGenerator) -> String {
    let names = [
      "model.gguf", "a/b/c.bin", "../escaped", "/etc/escaped", "..", ".", "", "a/../../escaped", "a\u{0}b",
      "\u{1b}]0;x\u{7}",
      "\u{202e}gpj.exe", String(repeating: "n", count: 300), String(repeating: "d/", count: 600) + "f",
      "con\r\nX: y",
      ".wh.x", "sha256-" + String(repeating: "0", count: 64), "a//b/./c", "\u{85}\u{9b}31m", "true",
      "{\"name\":\"../x\"}",
      "model.safetensors", "x/", "~", "-rf", "$(id)", "`id`", "a\\b", "ﬁ", "\u{feff}bom",
    ]
    return names.randomElement(using: &chance) ?? ""
  }

  private static func size(_ chance: inout SeededGenerator) -> Int64 {
    [0, 1, 511, 4 << 20, 1 << 32, 4 << 40, 64 << 40, Int64.max].randomElement(using: &chance) ?? 0
  }

  private static func count(_ chance: inout SeededGenerator) -> UInt64 {
    [0, 1, 8, 255, 65_536, 1 << 31, 1 << 32, 1 << 62, UInt64.max, chance.next()].randomElement(using: &chance)
      ?? 0
  }

  private static func tar(_ chance: inout SeededGenerator) -> [UInt8] {
    var tar = TarMaker()
    for _ in 0..<Int.random(in: 1...60, using: &chance) {
      let path =
        Int.random(in: 0..<3, using: &chance) > 0
        ? ["a", "b", "a/b", "a/b/c", "l", "l/x", "models/model.gguf"].randomElement(using: &chance) ?? "a"
        : name(&chance).filter { $0 != "\u{0}" }
      let target = ["a", "..", "l", "/", "../../../../etc", "b/../l", "a/b/c", "l/l/l"].randomElement(
        using: &chance
      )
      let content = chance.bytes(Int.random(in: 0...2000, using: &chance))
      if Int.random(in: 0..<8, using: &chance) == 0 {
        let keys = [
          "path", "linkpath", "size", "mtime", "GNU.sparse.major", "GNU.sparse.map", "SCHILY.xattr.user.x",
        ]
        tar.addPAX([
          (
            keys.randomElement(using: &chance) ?? "",
            ["-1", "a", "99999999999999999999", "1,2,3"].randomElement(using: &chance) ?? ""
          )
        ])
      }
      let type: Character =
        ["0", "0", "0", "1", "2", "5", "3", "S", "x", "g", "V", "7"].randomElement(using: &chance) ?? "0"
      let claimed =
        Int.random(in: 0..<20, using: &chance) == 0 ? Int.random(in: 0...(1 << 33) - 1, using: &chance) : nil
      let isFile = type == "0" || type == "7"
      tar.add(
        path,
        type: type,
        target: target ?? "",
        content: isFile ? content : [],
        mode: Int.random(in: 0...0o7777, using: &chance),
        time: Int.random(in: 0...(1 << 33) - 1, using: &chance),
        size: claimed
      )
    }
    return tar.finished
  }

  private static func json(_ chance: inout SeededGenerator) -> [UInt8] {
    let depth = Int.random(in: 1...100_000, using: &chance)
    let number =
      ["1e999", "-1", "NaN", "1.5", "18446744073709551616", "00"].randomElement(using: &chance) ?? ""
    let texts = [
      String(repeating: "[", count: depth), String(repeating: "{\"a\":", count: depth), "", "null", "[]",
      "\"",
      "{\"schemaVersion\":2,\"layers\":\(number)}", "{\"schemaVersion\":2,\"layers\":[\(number)]}",
      "{\"schemaVersion\":2,\"config\":null,\"layers\":[{\"digest\":\"sha256:zz\",\"size\":\(number)}]}",
      "{\"layers\":[" + String(repeating: "{},", count: depth) + "{}]}",
      "{\"a\":\"" + String(repeating: "\\u0000", count: depth) + "\"}",
      "\u{feff}{\"schemaVersion\":2,\"layers\":[]}",
      "{\"layers\":[],\"layers\":[],\"\\u001b[2J\":1}",
    ]
    return Array((texts.randomElement(using: &chance) ?? "").utf8)
  }

  private static func mutated(_ bytes: [UInt8], _ chance: inout SeededGenerator) -> [UInt8] {
    guard !bytes.isEmpty else { return [0] }
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...8, using: &chance) {
      let place = Int.random(in: 0..<bytes.count, using: &chance)
      switch Int.random(in: 0..<4, using: &chance) {
      case 0: bytes[place] = UInt8.random(in: 0...255, using: &chance)
      case 1: bytes.insert(UInt8.random(in: 0...255, using: &chance), at: place)
      case 2 where bytes.count > 1: bytes.remove(at: place)
      default: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &chance)
      }
    }
    return bytes
  }

  private static func encoded(_ value: some Encodable) -> [UInt8] {
    // Every value here can be encoded; if not, the artifact is an empty document, which is hostile too.
    (try? JSONDocument.encode(value)) ?? []
  }
}

extension SeededGenerator {
  /// Returns random bytes.
  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }
}
