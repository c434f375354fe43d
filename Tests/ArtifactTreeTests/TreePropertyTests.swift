import Archive
import ArtifactTree
import Content
import OCI
import TestSupport
import Testing

struct TreePropertyTests {
  /// Compares random layers of files, directories and whiteouts with a dictionary of paths.
  @Test(arguments: SeededGenerator.seeds(1...40))
  func layersAgreeWithAModel(_ seed: UInt64) async throws {
    var generator = SeededGenerator(seed: seed)
    let names = ["a", "b", "c"]
    var model: [String: Int] = [:]
    var tars: [Digest: [UInt8]] = [:]
    var layers: [Descriptor] = []
    var time = 1
    for _ in 0..<4 {
      var maker = TarMaker()
      var own: [String: Int] = [:]
      var hidden: Set<String> = []
      for _ in 0..<Int.random(in: 1...6, using: &generator) {
        let depth = Int.random(in: 1...3, using: &generator)
        let parts = (0..<depth).map { _ in names.randomElement(using: &generator) ?? "a" }
        let path = parts.joined(separator: "/")
        // Within one layer no entry is below a file or replaces a directory.
        let clash = own.keys.contains { $0 == path || $0.hasPrefix("\(path)/") || path.hasPrefix("\($0)/") }
        if Bool.random(using: &generator) {
          guard !clash else { continue }
          // Contents are not needed: every file is empty and identified by its time.
          maker.add(path, time: time)
          own[path] = time
          time += 1
        } else {
          let leaf = parts[parts.count - 1]
          let folder = parts.dropLast().joined(separator: "/")
          // A whiteout names its directory, which must not be a file of this layer.
          guard !own.keys.contains(where: { folder == $0 || folder.hasPrefix("\($0)/") }) else { continue }
          maker.add(folder.isEmpty ? ".wh.\(leaf)" : "\(folder)/.wh.\(leaf)")
          hidden.insert(path)
        }
      }
      // image-spec layer.md: whiteouts hide only lower layers, files replace an entry and the entries below
      // it.
      model = model.filter { entry in
        !hidden.contains { entry.key == $0 || entry.key.hasPrefix("\($0)/") }
          && !own.keys.contains { entry.key.hasPrefix("\($0)/") || $0.hasPrefix("\(entry.key)/") }
      }
      model.merge(own) { $1 }
      let bytes = maker.finished
      let digest = Verification.digest(of: bytes)
      tars[digest] = bytes
      layers.append(
        Descriptor(
          mediaType: MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar"),
          digest: digest,
          size: Int64(bytes.count)
        )
      )
    }
    let config = Descriptor(mediaType: .imageConfig, digest: Verification.digest(of: []), size: 0)
    let loader = TreeLoader.fresh()
    let tree = try await loader.load(
      Manifest(config: config, layers: layers),
      bytes: MemoryLayers(contents: tars)
    )
    var found: [String: Int] = [:]
    for file in tree.files { found[tree.path(of: file.node)] = Int(tree.nodes[file.node].modificationTime) }
    #expect(found == model, "seed \(seed): \(tree.problems)")
  }
}
