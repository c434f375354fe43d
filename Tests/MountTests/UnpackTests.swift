import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Compressed layers are decompressed once, and served like fetched blobs.
@Suite(.serialized) struct UnpackTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private static let image = "application/vnd.oci.image.layer.v1.tar"
  // 24 MiB: more than one recorded position.
  private static let model = ModelFile.gguf(24 << 20, seed: 8)
  private static let text = Array((0..<400_000).map { "\($0)\n" }.joined().utf8)

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try folder.write(Self.model, to: "model.gguf")
    try folder.write(Self.text, to: "text")
  }

  private static let tar: [UInt8] = {
    var tar = TarMaker()
    tar.add("models/model.gguf", content: model)
    tar.add("models/sub/text", content: text)
    return tar.finished
  }()

  /// Adds an image of one layer.
  private func add(_ layer: [UInt8], _ type: String, _ name: String) throws {
    var descriptor = registry.add(blob: layer)
    descriptor.mediaType = MediaType(rawValue: type)
    var config = registry.add(blob: LayoutMaker.imageConfig.bytes)
    config.mediaType = .imageConfig
    let manifest = Manifest(config: config, layers: [descriptor])
    registry.add(document: try JSONDocument.encode(manifest), repository: "acme/\(name)", tags: ["t"])
  }

  private func sent(_ layer: [UInt8]) -> Int {
    let hex = Verification.digest(of: layer).hex
    return registry.blobRequests.filter { $0.path.hasSuffix(hex) }.reduce(0) {
      $0 + ($1.range(size: layer.count)?.count ?? layer.count)
    }
  }

  private var unpacked: String {
    "root/.weightfs/blobs/sha256/\(Verification.digest(of: Self.tar).hex)"
  }

  @Test(arguments: [("gzip", "gzip -1"), ("zstd", "zstd -1"), ("zstd", "zstd -1 -T2 --rsyncable")])
  func anImageIsOpenedWithOnePassOfTheNetwork(_ kind: String, _ program: String) async throws {
    let layer = try await Compressed.bytes(Self.tar, by: program)
    try add(layer, "\(Self.image)+\(kind)", "m")
    let mount = try await MountProcess(folder)
    let tag = mount.path("\(registry.host)/acme/m/t")
    let readers = (0..<8).map { number in
      number.isMultiple(of: 2)
        ? "cmp '\(tag)/model.gguf' '\(folder.path("model.gguf"))'"
        : "cmp '\(tag)/sub/text' '\(folder.path("text"))'"
    }
    let script = readers.map { "(\($0)) & p=\"$p $!\"" }.joined(separator: "\n")
    let read = try await Command.shell("p=\n\(script)\nfor q in $p; do wait $q || exit 1; done", seconds: 60)
    #expect(read.status == 0, "\(read.error)")
    #expect(sent(layer) <= layer.count + layer.count / 20, "\(sent(layer)) of \(layer.count)")
    // The decompressed bytes are a verified blob under their own digest.
    #expect(folder.has(unpacked))
    #expect(try await mount.attribute("verified", of: "\(registry.host)/acme/m/t/sub/text") == "blob")
    #expect(mount.messages.isEmpty, "\(mount.messages)")
  }

  @Test(arguments: [("gzip", "gzip -1"), ("zstd", "zstd -1")])
  func evictedBytesAreDecompressedAgain(_ kind: String, _ program: String) async throws {
    let layer = try await Compressed.bytes(Self.tar, by: program)
    try add(layer, "\(Self.image)+\(kind)", "m")
    let name = "\(registry.host)/acme/m"
    for _ in 0..<2 {
      let mount = try await MountProcess(folder, ["--fill", "demand"])
      let read = try await Command.shell(
        "tail -c 5000 '\(mount.path("\(name)/t/model.gguf"))' | cmp - <(tail -c 5000 '\(folder.path("model.gguf"))') "
          + "&& cmp '\(mount.path("\(name)/t/sub/text"))' '\(folder.path("text"))'"
      )
      #expect(read.status == 0, "\(read.error)")
      #expect(await mount.unmount())
      let evicted = try await WeightfsCommand.run("evict \(name):t", in: folder)
      #expect(evicted.status == 0, "\(evicted.error)")
      #expect(!folder.has(unpacked), "the decompressed blob is evicted with its artifact")
    }
    // The second time the layer was fetched again, in parts or completely.
    #expect(sent(layer) <= 2 * layer.count + layer.count / 10)
  }

  @Test func aKillAtAnyTimeLosesNothing() async throws {
    let layer = try await Compressed.bytes(Self.tar, by: "gzip -1")
    try add(layer, "\(Self.image)+gzip", "m")
    for point in 0..<10 {
      let mount = try await MountProcess(folder)
      let listing = Task { try await Command.shell("ls '\(mount.path("\(registry.host)/acme/m/t"))'") }
      try await Task.sleep(for: .milliseconds(20 * point))
      try await mount.crash()
      _ = try await listing.value
    }
    let mount = try await MountProcess(folder)
    let read = try await Command.shell(
      "cmp '\(mount.path("\(registry.host)/acme/m/t/model.gguf"))' '\(folder.path("model.gguf"))'",
      seconds: 60
    )
    #expect(read.status == 0, "\(read.error)")
    #expect(try folder.read(unpacked) == Self.tar)
  }

  @Test func twoProcessesDecompressALayerOnce() async throws {
    let layer = try await Compressed.bytes(Self.tar, by: "gzip -1")
    try add(layer, "\(Self.image)+gzip", "m")
    let line = WeightfsCommand.line("ls \(registry.host)/acme/m:t", in: folder)
    let both = try await Command.shell(
      "(\(line)) >'\(folder.path("a"))' & p=$!; (\(line)) >'\(folder.path("b"))' && wait $p",
      seconds: 60,
      environment: ["HOME": folder.path]
    )
    #expect(both.status == 0, "\(both.error)")
    #expect(try folder.read("a") == folder.read("b"))
    #expect(sent(layer) <= layer.count + layer.count / 10, "\(sent(layer)) of \(layer.count)")
  }

  @Test func aBombIsRefusedWithItsReason() async throws {
    var tar = TarMaker()
    tar.add("models/zeros", content: [UInt8](repeating: 0, count: 64 << 20))
    let bomb = try await Compressed.bytes(tar.finished, by: "gzip -9")
    try add(bomb, "\(Self.image)+gzip", "image")
    _ = try registry.add(
      layers: [(bomb, "application/vnd.cncf.model.weight.v1.tar+gzip", [:])],
      repository: "acme/pack",
      tag: "t"
    )
    let mount = try await MountProcess(folder, ["--max-unpacked", "10M"])
    // The layers of an image change each other, so that it cannot be shown without one.
    let image = try await Command.shell("ls '\(mount.path("\(registry.host)/acme/image/t"))'")
    #expect(image.status != 0 && image.error.contains("Input/output error"), "\(image.error)")
    #expect(mount.messages.contains("more than 10.0 MiB (--max-unpacked)"), "\(mount.messages)")
    let pack = try await Command.shell("ls '\(mount.path("\(registry.host)/acme/pack/t"))'")
    #expect(pack.output == "sha256-\(Verification.digest(of: bomb).hex)\n")
    // Nothing of the attempts stays.
    #expect(folder.files().allSatisfy { !$0.hasPrefix("root/.weightfs/temporary/") })
  }

  @Test func wrongBytesOfALayerAreNeverRecorded() async throws {
    let layer = try await Compressed.bytes(Self.tar, by: "gzip -1")
    var wrong = Self.tar
    wrong[5000] ^= 1
    let other = try await Compressed.bytes(wrong, by: "gzip -1")
    try add(layer, "\(Self.image)+gzip", "m")
    // A valid gzip of other content.
    let lie = other + [UInt8](repeating: 0, count: max(0, layer.count - other.count))
    registry.add(blob: Array(lie.prefix(layer.count)), as: Verification.digest(of: layer))
    let refused = try await WeightfsCommand.run("ls \(registry.host)/acme/m:t", in: folder)
    #expect(refused.status != 0, "\(refused.output)")
    #expect(folder.files().allSatisfy { !$0.contains("/state/unpacked/") })
    registry.add(blob: layer, as: Verification.digest(of: layer))
    let right = try await WeightfsCommand.run(
      "cat \(registry.host)/acme/m:t sub/text | sha256sum",
      in: folder
    )
    #expect(right.output.hasPrefix(Verification.digest(of: Self.text).hex), "\(right.error)")
  }

  @Test func aLoadedImageKeepsItsLayerBesideACompressedOne() async throws {
    // The plain layer of one image is the content of the other's gzip.
    try LayoutMaker.writeImage(folder, "layout", layer: Self.tar, reference: "v")
    let loaded = try await WeightfsCommand.run("load --as localhost/acme/plain:v layout", in: folder)
    #expect(loaded.status == 0, "\(loaded.error)")
    let layer = try await Compressed.bytes(Self.tar, by: "gzip -1")
    try add(layer, "\(Self.image)+gzip", "m")
    let name = "\(registry.host)/acme/m:t"
    _ = try await WeightfsCommand.run("ls \(name)", in: folder)
    _ = try await WeightfsCommand.run("evict \(name)", in: folder)
    // Its only copy: there is no registry that it could be fetched from again.
    let read = try await WeightfsCommand.run(
      "cat --offline localhost/acme/plain:v sub/text | cmp - text",
      in: folder
    )
    #expect(read.status == 0, "\(read.error)")
  }

  @Test func withoutTheLayerItsContentIsEnough() async throws {
    let layer = try await Compressed.bytes(Self.tar, by: "gzip -1")
    try add(layer, "\(Self.image)+gzip", "m")
    let name = "\(registry.host)/acme/m:t"
    let first = try await WeightfsCommand.run("cat \(name) sub/text | cmp - text", in: folder)
    #expect(first.status == 0, "\(first.error)")
    let hex = Verification.digest(of: layer).hex
    for place in folder.files().filter({ $0.contains(hex) && $0.contains("blobs/") }) {
      try FileManager.default.removeItem(atPath: folder.path(place))
    }
    registry.server.stop()
    let offline = try await WeightfsCommand.run("cat --offline \(name) sub/text | cmp - text", in: folder)
    #expect(offline.status == 0, "\(offline.error)")
  }

  @Test(arguments: ["windows", "json"])
  func aDamagedRecordCostsTimeAndNoBytes(_ part: String) async throws {
    let layer = try await Compressed.bytes(Self.tar, by: "gzip -1")
    try add(layer, "\(Self.image)+gzip", "m")
    let name = "\(registry.host)/acme/m:t"
    _ = try await WeightfsCommand.run("ls \(name)", in: folder)
    let record = "root/.weightfs/state/unpacked/sha256-\(Verification.digest(of: layer).hex).\(part)"
    var bytes = try folder.read(record)
    for index in stride(from: 0, to: bytes.count, by: 100) { bytes[index] ^= 0x11 }
    if part == "json" {
      let text = String(decoding: try folder.read(record), as: UTF8.self)
      bytes = Array(text.replacing(/"input":\d+/, with: "\"input\":-9223372036854775808").utf8)
    }
    try folder.write(bytes, to: record)
    try FileManager.default.removeItem(atPath: folder.path(unpacked))
    let mount = try await MountProcess(folder, ["--fill", "demand"])
    let path = mount.path("\(registry.host)/acme/m/t/model.gguf")
    let read = try await Command.shell(
      "tail -c 5000 '\(path)' | cmp - <(tail -c 5000 '\(folder.path("model.gguf"))')",
      seconds: 60
    )
    #expect(read.status == 0, "\(read.error)\(mount.messages)")
  }
}
