import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Use of memory and disk depends on the fetched bytes, not on the sizes that a small artifact claims.
@Suite(.serialized) struct ClaimedSizeTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
  }

  /// Adds a manifest whose layers do not exist.
  private func addManifest(layers count: Int, size: Int64, repository: String) throws {
    let layers = (0..<count).map { number in
      var layer = Descriptor(
        mediaType: MediaType(rawValue: "application/octet-stream"),
        digest: Verification.digest(of: Array("\(repository)/\(number)".utf8)),
        size: size
      )
      layer.annotations["org.opencontainers.image.title"] = "file-\(number).bin"
      return layer
    }
    let manifest = Manifest(
      artifactType: MediaType(rawValue: "application/vnd.test.model"),
      config: nil,
      layers: layers
    )
    registry.add(document: try JSONDocument.encode(manifest), repository: repository, tags: ["t"])
  }

  /// Adds an image of one plain tar layer.
  private func addImage(_ tar: [UInt8], repository: String) throws {
    var layer = registry.add(blob: tar)
    layer.mediaType = MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar")
    var config = registry.add(blob: Array("{}".utf8))
    config.mediaType = .imageConfig
    let manifest = Manifest(config: config, layers: [layer])
    registry.add(document: try JSONDocument.encode(manifest), repository: repository, tags: ["t"])
  }

  /// Returns nested directories with files in the deepest one, with a given total number of nodes.
  private func deepTar(nodes: Int, depth: Int) -> [UInt8] {
    var tar = TarMaker()
    let folders = (0..<depth - 1).map { "d\($0)" }
    for number in 0..<nodes / depth {
      tar.add((["\(number)"] + folders.dropLast() + ["f"]).joined(separator: "/"))
    }
    return tar.finished
  }

  @Test func aMillionNodesFitIntoHalfAGibibyte() async throws {
    try addImage(deepTar(nodes: 999_900, depth: 100), repository: "acme/million")
    let mount = try await MountProcess(folder, ["--timeout", "60"])
    let path = mount.path("\(registry.host)/acme/million:t")
    let listed = try await Command.shell(
      "ls '\(path)' | wc -l && ls '\(path)/17/d0' && ls '\(path)/9998/d0/d1'",
      seconds: 100
    )
    #expect(listed.output == "9999\nd1\nd2\n", "\(listed.output)\(listed.error)\(mount.messages)")
    let peak = try #require(mount.peakMemory)
    #expect(peak < 512 << 20, "\(peak >> 20) MiB")
  }

  @Test func aNodeTakesAtMostThreeHundredBytes() async throws {
    var wide = TarMaker()
    for number in 0..<100_000 { wide.add("directory-\(number / 1000)/file-\(number).bin") }
    try addImage(wide.finished, repository: "acme/wide")
    try addImage(deepTar(nodes: 999_900, depth: 100), repository: "acme/deep")
    try addImage(deepTar(nodes: 200, depth: 100), repository: "acme/small")
    for (name, nodes) in [("wide", 100_100), ("deep", 999_900)] as [(String, Int64)] {
      let mount = try await MountProcess(folder, name: name, root: "root-\(name)", ["--timeout", "60"])
      func list(_ image: String) async throws -> Command.Result {
        try await Command.shell(
          "ls '\(mount.path("\(registry.host)/acme/\(image):t"))' | wc -l",
          seconds: 100
        )
      }
      // What any image costs is there before.
      #expect(try await list("small").output == "2\n", "\(mount.messages)")
      let before = try #require(mount.peakMemory)
      let listed = try await list(name)
      #expect(listed.output == (name == "wide" ? "100\n" : "9999\n"), "\(listed.error)\(mount.messages)")
      let peak = try #require(mount.peakMemory)
      #expect(peak - before <= 300 * nodes, "\(name): \((peak - before) / nodes) bytes a node")
    }
  }

  @Test func moreThanAMillionNodesAreRefusedInLittleMemory() async throws {
    try addImage(deepTar(nodes: 2_000_000, depth: 100), repository: "acme/toomany")
    let mount = try await MountProcess(folder, ["--timeout", "60"])
    let path = mount.path("\(registry.host)/acme/toomany:t")
    let listed = try await Command.shell("ls '\(path)'", seconds: 100)
    #expect(listed.error.contains("Input/output error"), "\(listed.error)")
    #expect(mount.messages.contains("more than 1000000 files and directories"), "\(mount.messages)")
    let peak = try #require(mount.peakMemory)
    #expect(peak < 512 << 20, "\(peak >> 20) MiB")
  }

  @Test func aListingWritesNothingForEachBlob() async throws {
    try addManifest(layers: 20_000, size: 1000, repository: "acme/many")
    let mount = try await MountProcess(folder, ["--timeout", "30"])
    let path = mount.path("\(registry.host)/acme/many:t")
    let listed = try await Command.shell("ls '\(path)' | wc -l")
    #expect(listed.output == "20000\n", "\(listed.output)\(listed.error)\(mount.messages)")
    let files = try await Command.shell("find '\(folder.path("root"))' -type f | wc -l")
    let count = try #require(Int(files.output.filter(\.isNumber)))
    #expect(count < 40, "\(count) files")
  }

  @Test func aPageOfTagsOfFifteenMebibytesCostsFourTimesThat() async throws {
    let tags = (0..<940_000).map { "version-\($0)" }
    let quoted = tags.map { "\"\($0)\"" }.joined(separator: ",")
    let page = Array("{\"name\":\"acme/tags\",\"tags\":[\(quoted)]}".utf8)
    #expect(page.count > 15 << 20)
    try registry.add(files: ["x": [1]], repository: "acme/tags", tag: "version-1")
    registry.setFault { request, _ in request.path.hasSuffix("/tags/list") ? .init(200, body: page) : nil }
    let mount = try await MountProcess(folder)
    let before = try #require(mount.peakMemory)
    let listed = try await Command.shell("ls '\(mount.path("\(registry.host)/acme/tags"))' | wc -l")
    #expect(listed.output == "100000\n", "\(listed.error)")
    let peak = try #require(mount.peakMemory)
    #expect(peak - before <= 4 * Int64(page.count), "\((peak - before) >> 20) MiB")
  }

  @Test func aHeaderOfThirtyOneMebibytesCostsFourTimesThat() async throws {
    var header = "{"
    for number in 0..<320_000 {
      header += number == 0 ? "" : ","
      header += "\"model.layers.\(number).self_attn.q_proj.weight\":{\"dtype\":\"I8\",\"shape\":[1],"
      header += "\"data_offsets\":[\(number),\(number + 1)]}"
    }
    header += "}"
    let length = header.utf8.count
    #expect((31 << 20...32 << 20).contains(length), "\(length)")
    var bytes = withUnsafeBytes(of: UInt64(length).littleEndian) { Array($0) } + Array(header.utf8)
    bytes += [UInt8](repeating: 0, count: 320_000)
    try registry.add(files: ["model.safetensors": bytes], repository: "acme/header", tag: "t")
    let mount = try await MountProcess(folder)
    let file = mount.path("\(registry.host)/acme/header:t/model.safetensors")
    _ = try await Command.shell("stat '\(file)'")
    let before = try #require(mount.peakMemory)
    let sum = try await Command.shell("sha256sum < '\(file)'")
    #expect(sum.output.hasPrefix(Verification.digest(of: bytes).hex), "\(sum.error)")
    let peak = try #require(mount.peakMemory)
    #expect(peak - before <= 4 * Int64(length), "\((peak - before) >> 20) MiB")
  }

  @Test func aThousandOpenFilesOfFourTebibytesTakeLittleMemory() async throws {
    try addManifest(layers: 1000, size: 4 << 40, repository: "acme/huge")
    let mount = try await MountProcess(folder, ["--fill", "demand", "--timeout", "5"])
    let script = """
      import os, sys
      root = sys.argv[1]
      files = [os.open(f"{root}/file-{n}.bin", os.O_RDONLY) for n in range(1000)]
      print(sum(os.fstat(f).st_size for f in files))
      for f in files[:5]:
          try:
              os.pread(f, 1, 3 << 40)
          except OSError as error:
              print(error.errno)
      """
    try folder.write(Array(script.utf8), to: "open.py")
    let path = mount.path("\(registry.host)/acme/huge:t")
    let result = try await Command.shell("python3 '\(folder.path("open.py"))' '\(path)'", seconds: 100)
    #expect(result.output.hasPrefix("\(1000 * (4 << 40))\n"), "\(result.output)\(result.error)")
    let peak = try #require(mount.peakMemory)
    #expect(peak < 128 << 20, "\(peak >> 20) MiB")
  }
}
