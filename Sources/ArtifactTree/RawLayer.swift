import Content
import OCI

/// A layer that is a file.
struct RawLayer: Sendable {
  let plan: LayerPlan
  let created: Int64
  /// Why the content does not match the format that the name promises, or nil.
  let doubt: String?
  /// A sentence for the user, or nil.
  let note: String?

  func apply(to builder: inout TreeBuilder) {
    let attributes = TreeBuilder.Attributes(
      mode: 0o444 | plan.mode & 0o111,
      modificationTime: plan.modificationTime ?? created
    )
    let content = FileContent(whole: plan.content)
    let shown = LayerName.fallback(plan.layer)
    if let note { builder.note(note) }
    if let doubt {
      withhold(as: shown, doubt, &builder)
    } else if place(content, attributes, &builder) {
      return
    }
    guard let fallback = EntryName(shown.utf8), !builder.exists([fallback]) else { return }
    _ = builder.addFile(FileContent(whole: plan.layer), at: [fallback], attributes, layer: 0)
  }

  private func withhold(as shown: String, _ reason: String, _ builder: inout TreeBuilder) {
    let name = plan.givenName.map { String($0.prefix(1024)) } ?? ""
    // An unusable path is shown as it is written.
    let path = (try? TreePath.parse(annotation: name))?.map(\.description).joined(separator: "/")
    builder.withhold(WithheldName(path: path ?? name, shownAs: shown, reason: reason))
  }

  /// Adds the file under the first of its names that is free; returns false if there is none.
  private func place(
    _ content: FileContent,
    _ attributes: TreeBuilder.Attributes,
    _ builder: inout TreeBuilder
  ) -> Bool {
    for (index, name) in plan.names.enumerated() {
      let isGiven = plan.isNameGiven && index == 0
      do throws(PathProblem) {
        let path = try TreePath.parse(annotation: name)
        // Two layers with the same name and the same digest are one file.
        if builder.digest(at: path) == plan.content.digest { return true }
        if !builder.exists(path), builder.addFile(content, at: path, attributes, layer: 0) { return true }
        if isGiven {
          builder.note(
            "two layers are named '\(name.prefix(120))': \(plan.layer.digest) is shown under its digest"
          )
        }
      } catch {
        if isGiven { builder.note("the name \(error): layer \(plan.layer.digest) is shown under its digest") }
      }
    }
    return false
  }
}
