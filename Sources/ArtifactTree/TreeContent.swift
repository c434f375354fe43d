import Archive
import Content
import OCI

/// The opened layers of an artifact, in the order in which they are added to its tree.
struct TreeContent: Sendable {
  /// One layer.
  enum Step: Sendable {
    case raw(RawLayer)
    case tar(TarLayer, TarIndex, note: String?)
  }

  /// The time of directories without an entry of their own, in seconds since 1970.
  let created: Int64
  /// The layers that are not shown.
  let withheld: [WithheldName]
  var steps: [Step] = []
  /// Whether the tree is the directory `/models` of an image that has models there.
  var showsModelsOnly = false

  init(created: Int64, withheld: [WithheldName]) {
    self.created = created
    self.withheld = withheld
  }

  /// Builds the tree.
  ///
  /// - Throws: `ContentError` if the tree has too many files.
  func build() throws(ContentError) -> FileTree {
    var builder = TreeBuilder(defaultTime: created)
    for name in withheld { builder.withhold(name) }
    var isTarOnly = true
    for step in steps {
      let layer: Descriptor
      switch step {
      case .tar(let tar, let index, let note):
        layer = tar.layer
        if let note { builder.note(note) }
        tar.apply(index, to: &builder)
      case .raw(let raw):
        layer = raw.plan.layer
        isTarOnly = false
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
    builder.straightenLinks()
    var tree = builder.build(root: showsModelsOnly && isTarOnly ? builder.modelFolder : nil)
    // A million paths take as long as the tree itself: only those of models are made.
    let models = tree.files.filter { tree.name(of: $0.node).map { Shards.isModel($0.description) } ?? false }
    tree.missingShards = Shards.missing(among: models.map { tree.path(of: $0.node) })
    return tree
  }
}
