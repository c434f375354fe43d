import Archive
import OCI

/// A layer that is a tar: its members become files that are ranges of the layer.
struct TarLayer: Sendable {
  /// The descriptor in the manifest, for messages.
  let layer: Descriptor
  private let number: Int
  private let hasWhiteouts: Bool
  private let folder: [EntryName]
  private let shared: Layer

  /// Creates a layer.
  ///
  /// - Parameters:
  ///   - content: The uncompressed tar.
  ///   - plan: The plan of the layer.
  ///   - number: The number of the layer in the artifact.
  ///   - hasWhiteouts: Whether members named `.wh.…` remove entries of lower layers.
  init(_ content: Descriptor, of plan: LayerPlan, number: Int, hasWhiteouts: Bool) {
    layer = plan.layer
    self.number = number
    self.hasWhiteouts = hasWhiteouts
    // A directory that cannot be used is the root.
    folder = (try? TreePath.parse(annotation: plan.folder)) ?? []
    shared = Layer(content)
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
        if let hidden = try hidden(by: member.name) {
          builder.whiteOut(folder + hidden, layer: level)
          continue
        }
        let inner = try TreePath.parse(member: member.name)
        let path = inner.isEmpty ? [] : folder + inner
        if case .hardLink(let target) = member.kind {
          let target = folder + (try TreePath.parse(member: target))
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

  /// Returns the path that a whiteout hides, or nil for another member.
  ///
  /// A name of up to 255 bytes can be hidden: with the prefix, the member's name is longer than a file's can be.
  private func hidden(by member: [UInt8]) throws(PathProblem) -> [EntryName]? {
    guard hasWhiteouts else { return nil }
    let slash = UInt8(ascii: "/")
    let last = member.split(separator: slash).last ?? []
    guard last.starts(with: Self.whiteout), !last.elementsEqual(Self.opaque),
      let name = EntryName(last.dropFirst(Self.whiteout.count))
    else { return nil }
    return try TreePath.parse(member: Array(member[..<last.startIndex])) + [name]
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
    if hasWhiteouts, name.bytes == Self.opaque {
      builder.makeOpaque(Array(path.dropLast()), layer: level)
      return
    }
    // The prefix without a name that it could hide.
    if hasWhiteouts, name.bytes.starts(with: Self.whiteout) { return }
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
