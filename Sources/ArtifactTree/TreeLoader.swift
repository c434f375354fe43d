import Archive
package import Content
package import OCI

/// Builds the tree of an artifact from its manifest.
package struct TreeLoader: Sendable {
  private let indexes: TarIndexCache
  private let firstBytes: FirstBytes

  /// Creates a loader.
  ///
  /// - Parameters:
  ///   - indexes: The members of tar layers.
  ///   - firstBytes: Checks layers of ambiguous media types.
  package init(indexes: TarIndexCache, firstBytes: FirstBytes) {
    self.indexes = indexes
    self.firstBytes = firstBytes
  }

  /// Builds the tree.
  ///
  /// Reads only the headers of tar layers, and the first bytes of layers that may be tars according to their
  /// media type.
  ///
  /// A layer that cannot be shown under its name is shown under its digest, without an effect on other
  /// layers.
  ///
  /// - Parameters:
  ///   - manifest: The manifest of the artifact.
  ///   - bytes: Reads the layers.
  /// - Throws: `ContentError` if a tar layer cannot be read.
  package func load(_ manifest: Manifest, bytes: any LayerBytes) async throws(ContentError) -> FileTree {
    let created = manifest.annotations["org.opencontainers.image.created"].flatMap(Timestamp.seconds) ?? 0
    var steps: [Step] = []
    var members = 0
    let doubts = await doubts(manifest, bytes)
    for (number, layer) in manifest.layers.enumerated() where layer.mediaType != .empty {
      // The media type proves a tar only in an image: ORAS uses that type as the default for files.
      let form = LayerForm(of: layer, isImage: manifest.isImage)
      if form == .tar {
        let index = try await indexes.index(of: layer, bytes: bytes)
        // Layers may replace each other's files, but their indexes are all in memory at the same time.
        members += index.members.count
        guard members <= 2 * FileTree.maximumNodes else {
          throw ContentError(
            .invalid,
            "\(layer.digest)",
            "the tar layers have more than \(2 * FileTree.maximumNodes) members"
          )
        }
        steps.append(.tar(TarLayer(layer: layer, number: number), index))
      } else {
        let doubt =
          form == .packed ? "weightfs does not unpack content of type \(layer.mediaType)" : doubts[number]
        steps.append(.raw(RawLayer(layer: layer, created: created, doubt: doubt)))
      }
    }
    let all = steps
    // A million members take a second, in which the cooperative pool has other work.
    return try await indexes.executor.run { () throws(ContentError) in
      try Self.build(all, withheld: manifest.withheldLayers, created: created)
    }
  }

  /// Returns the layers whose bytes are read to build the tree.
  package static func layersRead(of manifest: Manifest) -> [Descriptor] {
    manifest.layers.filter { layer in
      layer.mediaType != .empty
        && [.tar, .undecided].contains(LayerForm(of: layer, isImage: manifest.isImage))
    }
  }

  /// Returns why layers, by their number, do not match the format that their names promise, according to
  /// their first bytes.
  private func doubts(_ manifest: Manifest, _ bytes: any LayerBytes) async -> [Int: String] {
    var questions: [Int: FirstBytes.Question] = [:]
    for (number, layer) in manifest.layers.enumerated()
    where LayerForm(of: layer, isImage: manifest.isImage) == .undecided {
      let name = LayerName.name(of: layer, metadata: LayerName.metadata(of: layer))
      guard let magic = name.flatMap({ ModelMagic(name: $0) }) else { continue }
      questions[number] = FirstBytes.Question(layer: layer, magic: magic)
    }
    guard !questions.isEmpty else { return [:] }
    let doubts = await firstBytes.doubts(Array(Set(questions.values)), bytes: bytes)
    return questions.compactMapValues { doubts[$0] }
  }

  /// One layer, in the form in which it is added to the tree.
  private enum Step: Sendable {
    case raw(RawLayer)
    case tar(TarLayer, TarIndex)
  }

  private static func build(
    _ steps: [Step],
    withheld: [WithheldName],
    created: Int64
  ) throws(ContentError) -> FileTree {
    var builder = TreeBuilder(defaultTime: created)
    for name in withheld { builder.withhold(name) }
    for step in steps {
      let layer: Descriptor
      switch step {
      case .tar(let tar, let index):
        layer = tar.layer
        tar.apply(index, to: &builder)
      case .raw(let raw):
        layer = raw.layer
        raw.apply(to: &builder)
      }
      guard !builder.isOverfull else {
        throw ContentError(
          .invalid,
          "\(layer.digest)",
          "the artifact has more than \(FileTree.maximumNodes) files and directories, or too long names"
        )
      }
    }
    return builder.build()
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

/// A layer that is a file.
struct RawLayer {
  let layer: Descriptor
  let created: Int64
  /// Why the content does not match the format that the name promises, or nil.
  let doubt: String?

  func apply(to builder: inout TreeBuilder) {
    let metadata = LayerName.metadata(of: layer)
    let attributes = TreeBuilder.Attributes(
      mode: 0o444 | (metadata?.mode ?? 0) & 0o111,
      modificationTime: metadata?.mtime.flatMap(Timestamp.seconds) ?? created
    )
    let content = FileContent(whole: layer)
    let shown = LayerName.fallback(layer)
    if let doubt {
      let name = LayerName.name(of: layer, metadata: metadata).map { String($0.prefix(1024)) } ?? ""
      // An unusable path is shown as it is written.
      let path = (try? TreePath.parse(annotation: name))?.map(\.description).joined(separator: "/")
      builder.withhold(WithheldName(path: path ?? name, shownAs: shown, reason: doubt))
    } else if let name = LayerName.name(of: layer, metadata: metadata) {
      do throws(PathProblem) {
        let path = try TreePath.parse(annotation: name)
        // Two layers with the same name and the same digest are one file.
        if builder.digest(at: path) == layer.digest { return }
        if !builder.exists(path), builder.addFile(content, at: path, attributes, layer: 0) { return }
        builder.note("two layers are named '\(name.prefix(120))': \(layer.digest) is shown under its digest")
      } catch {
        builder.note("the name \(error): layer \(layer.digest) is shown under its digest")
      }
    }
    for name in doubt == nil ? LayerName.names(byTypeOf: layer) : [] {
      // The next candidate is tried.
      guard let path = try? TreePath.parse(annotation: name) else { continue }
      if builder.digest(at: path) == layer.digest { return }
      if !builder.exists(path), builder.addFile(content, at: path, attributes, layer: 0) { return }
    }
    guard let fallback = EntryName(shown.utf8) else { return }
    if builder.exists([fallback]) { return }
    _ = builder.addFile(content, at: [fallback], attributes, layer: 0)
  }
}

/// A layer that is a tar: its members become files that are ranges of the layer.
struct TarLayer {
  let layer: Descriptor
  private let number: Int
  private let shared: Layer

  init(layer: Descriptor, number: Int) {
    self.layer = layer
    self.number = number
    shared = Layer(layer)
  }

  // Raw layers count as layer 0, so that a tar may replace their files.
  private var level: Int { number + 1 }
  private static let whiteout = Array(".wh.".utf8)
  private static let opaque = Array(".wh..wh..opq".utf8)

  func apply(_ index: TarIndex, to builder: inout TreeBuilder) {
    // Hard links to members that follow later in the layer.
    var waiting: [(path: [EntryName], target: [EntryName])] = []
    for member in index.members {
      if builder.isOverfull { return }
      do throws(PathProblem) {
        let path = try TreePath.parse(member: member.name)
        if case .hardLink(let target) = member.kind {
          let target = try TreePath.parse(member: target)
          let isPlaced = path.isEmpty ? false : builder.addHardLink(to: target, at: path, layer: level)
          if isPlaced == nil { waiting.append((path, target)) }
          if isPlaced == false {
            throw PathProblem(path: member.name, reason: "is a hard link to a directory")
          }
        } else {
          try apply(member, at: path, to: &builder)
        }
      } catch {
        builder.note("the member \(error) in layer \(layer.digest): omitted")
      }
    }
    for link in waiting where !(builder.addHardLink(to: link.target, at: link.path, layer: level) ?? false) {
      builder.note("the hard link '\(text(link.path))' in layer \(layer.digest) has no target: omitted")
    }
  }

  private func apply(
    _ member: TarMember,
    at path: [EntryName],
    to builder: inout TreeBuilder
  ) throws(PathProblem) {
    let attributes = TreeBuilder.Attributes(
      mode: 0o444 | member.mode & 0o111,
      modificationTime: member.modificationTime
    )
    guard let name = path.last else { return }
    if name.bytes == Self.opaque {
      builder.makeOpaque(Array(path.dropLast()), layer: level)
      return
    }
    if name.bytes.starts(with: Self.whiteout) {
      if let hidden = EntryName(name.bytes.dropFirst(4)) {
        builder.whiteOut(path.dropLast() + [hidden], layer: level)
      }
      return
    }
    var isPlaced = true
    switch member.kind {
    case .directory:
      let folder = TreeBuilder.Attributes(mode: 0o555, modificationTime: member.modificationTime)
      isPlaced = builder.addDirectory(at: path, folder, layer: level)
    case .file where member.isSparse: throw PathProblem(path: member.name, reason: "is a sparse member")
    case .file:
      let content = FileContent(layer: shared, offset: member.dataOffset, size: member.size)
      isPlaced = builder.addFile(content, at: path, attributes, layer: level)
    case .symbolicLink(let target):
      guard TreePath.linkTarget(target, in: []) != nil else {
        throw PathProblem(path: member.name, reason: "is a symbolic link without a usable target")
      }
      isPlaced = builder.addLink(target, at: path, attributes, layer: level)
    case .hardLink, .other: throw PathProblem(path: member.name, reason: "is a device, a pipe or a socket")
    }
    if !isPlaced, !builder.isOverfull {
      throw PathProblem(
        path: member.name,
        reason: "is behind symbolic links that form a loop or are nested too deep"
      )
    }
  }

  private func text(_ path: [EntryName]) -> String { path.map(\.description).joined(separator: "/") }
}
