import Archive
package import Content
package import OCI

/// Builds the tree of an artifact from its manifest.
package struct TreeLoader: Sendable {
  private let indexes: TarIndexCache
  private let firstBytes: FirstBytes
  private let showsCompleteImages: Bool

  // Kitfiles have some kilobytes.
  private static let configLimit: Int64 = 4 << 20

  /// Creates a loader.
  ///
  /// - Parameters:
  ///   - indexes: The members of tar layers.
  ///   - firstBytes: The first bytes of layers that may be archives.
  ///   - showsCompleteImages: Whether the tree of a modelcar is the complete image, not only `/models`.
  package init(indexes: TarIndexCache, firstBytes: FirstBytes, showsCompleteImages: Bool = false) {
    self.indexes = indexes
    self.firstBytes = firstBytes
    self.showsCompleteImages = showsCompleteImages
  }

  /// Builds the tree.
  ///
  /// Reads only the headers of tar layers, and the first bytes of layers that may be archives according to
  /// their media type; compressed layers are decompressed.
  ///
  /// A layer that cannot be shown under its name is shown under its digest, without an effect on other
  /// layers.
  ///
  /// - Parameters:
  ///   - manifest: The manifest of the artifact.
  ///   - bytes: Reads the layers.
  ///   - times: The times of an artifact without a creation time.
  /// - Throws: `ContentError` if an archive cannot be read; of an artifact with independent layers, only if
  ///   its bytes cannot be fetched.
  package func load(
    _ manifest: Manifest,
    bytes: any LayerBytes,
    times: RecordedTimes = RecordedTimes()
  ) async throws(ContentError) -> FileTree {
    let created = Self.created(manifest)
    let packaging = Packagings.packaging(of: manifest)
    let config = packaging.readsConfig(of: manifest) ? await config(of: manifest, bytes) : []
    let plans = packaging.plan(manifest, config: config)
    let known = await Self.known(plans, bytes)
    let asked = plans.filter { $0.needsFirstBytes && known[$0.layer.digest] == nil }.map(\.layer)
    let first = await firstBytes.read(Set(asked), bytes)
    var content = TreeContent(created: created ?? times.artifact, withheld: manifest.withheldLayers)
    var members = 0
    for (number, plan) in plans.enumerated() {
      let opener = LayerOpener(
        plan: plan,
        known: known[plan.layer.digest],
        first: first[plan.layer.digest],
        indexes: indexes,
        bytes: bytes
      )
      let time = created ?? times.layers[plan.layer.digest] ?? times.artifact
      let step = try await opener.open(number, isStacked: packaging.stacksLayers, created: time)
      content.steps.append(step)
      guard case .tar(_, let index, _) = step else { continue }
      // Layers may replace each other's files, but their indexes are all in memory at the same time.
      members += index.members.count
      guard members <= 2 * FileTree.maximumNodes else {
        throw ContentError(
          .invalid,
          "\(plan.layer.digest)",
          "the tar layers have more than \(2 * FileTree.maximumNodes) members"
        )
      }
    }
    content.showsModelsOnly = packaging.stacksLayers && !showsCompleteImages
    let all = content
    // A million members take a second, in which the cooperative pool has other work.
    return try await indexes.executor.run { () throws(ContentError) in
      var tree = try all.build()
      let known = Set(tree.missingShards)
      tree.missingShards += SafetensorsIndex.absentFiles(in: tree, bytes).filter { !known.contains($0) }
      return tree
    }
  }

  /// Returns the compressions of the layers that were decompressed before.
  private static func known(_ plans: [LayerPlan], _ bytes: any LayerBytes) async -> [Digest: Compression] {
    var known: [Digest: Compression] = [:]
    for plan in plans where plan.needsFirstBytes {
      known[plan.layer.digest] = await bytes.compression(of: plan.layer)
    }
    return known
  }

  /// Returns the creation time of an artifact in seconds since 1970; nil if its manifest has none.
  package static func created(_ manifest: Manifest) -> Int64? {
    manifest.annotations["org.opencontainers.image.created"].flatMap(Timestamp.seconds)
  }

  /// Returns the name of the packaging of an artifact.
  package static func packaging(of manifest: Manifest) -> String {
    Packagings.packaging(of: manifest).title
  }

  /// Returns the layers whose bytes are read to build the tree.
  package static func layersRead(of manifest: Manifest) -> [Descriptor] {
    let packaging = Packagings.packaging(of: manifest)
    let layers = packaging.plan(manifest, config: []).filter { plan in
      plan.needsFirstBytes || plan.names.contains { $0.hasSuffix(SafetensorsIndex.suffix) }
    }.map(\.layer)
    return layers + (packaging.readsConfig(of: manifest) ? [manifest.config].compactMap { $0 } : [])
  }

  /// Returns the config, or nothing if it cannot be read: it names files, and the files are there without it.
  private func config(of manifest: Manifest, _ bytes: any LayerBytes) async -> [UInt8] {
    guard let config = manifest.config, config.size <= Self.configLimit else { return [] }
    return await indexes.executor.ask {
      var content = [UInt8](repeating: 0, count: Int(config.size))
      let count = try? content.withUnsafeMutableBytes { try bytes.read(config, into: $0, at: 0) }
      return count == content.count ? content : []
    }
  }
}

/// When an artifact and its layers were first seen on this machine, in seconds since 1970.
package struct RecordedTimes: Sendable {
  let artifact: Int64
  let layers: [Digest: Int64]

  /// Creates times.
  ///
  /// - Parameters:
  ///   - artifact: The time of directories.
  ///   - layers: The times of files, by the digests of their layers.
  package init(artifact: Int64 = 0, layers: [Digest: Int64] = [:]) {
    self.artifact = artifact
    self.layers = layers
  }
}

extension LayerPlan {
  /// Whether the first bytes decide what the layer becomes.
  var needsFirstBytes: Bool {
    switch form {
    case .file: false
    case .archive, .compressedFile: true
    // A name that promises no format is the name of a file, unless it may be that of a directory.
    case .undecided: names.isEmpty || namesDirectory || names.contains { ModelMagic(name: $0) != nil }
    }
  }

  /// Whether a layer without a certain form has the name of a directory: oras-py packs a directory without a mark, under
  /// the directory's own name.
  var namesDirectory: Bool {
    guard form == .undecided, let name = names.first else { return false }
    return !name.contains("/") && !name.contains(".")
  }
}

extension Manifest {
  /// The layers, and the config, that are not shown as they cannot be verified.
  fileprivate var withheldLayers: [WithheldName] {
    let layers = foreignLayers.map { layer in
      WithheldName(path: LayerName.path(in: layer.annotations) ?? "", shownAs: nil, reason: layer.reason)
    }
    let config = foreignConfig.map {
      WithheldName(path: "", shownAs: nil, reason: "the config: \($0.reason)")
    }
    return layers + (config.map { [$0] } ?? [])
  }
}
