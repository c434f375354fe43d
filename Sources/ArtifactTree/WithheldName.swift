/// A layer whose content does not match the format that its name promises.
package struct WithheldName: Sendable, Hashable {
  /// The path according to the packaging.
  package let path: String
  /// The path that it is shown at instead; nil where its bytes cannot be verified, and are not shown.
  package let shownAs: String?
  /// The reason.
  package let reason: String

  /// The path that it has where it can be opened.
  var properPath: String { path.isEmpty ? shownAs ?? "" : path }

  /// A sentence for the user.
  package var text: String {
    guard let shownAs else { return "\(path.isEmpty ? "a layer" : "'\(path)'") is not shown: \(reason)" }
    return path.isEmpty
      ? "\(shownAs) is shown as it is: \(reason)" : "'\(path)' is shown as \(shownAs): \(reason)"
  }
}
