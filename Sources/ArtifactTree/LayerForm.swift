import Content
import OCI

/// How the bytes of a layer are packed, as far as its descriptor tells.
///
/// Pure.
enum LayerForm: Equatable {
  /// The layer is the file.
  case file
  /// A tar of an image, whose members are the files.
  case tar
  /// The file, or a directory of files, lies packed inside the layer.
  case packed
  /// The type is one that ORAS gives to files and tars alike: the first bytes tell.
  case undecided

  // Packagings whose types say for certain what a layer is: formats.md A.1, A.2, A.3.
  private static let certain = [
    "application/vnd.cncf.model.", "application/vnd.cnai.model.", "application/vnd.kitops.modelkit.",
    "application/vnd.docker.ai.",
  ]
  private static let unpackKey = "io.deis.oras.content.unpack"

  /// What a descriptor tells.
  ///
  /// - Parameters:
  ///   - layer: its descriptor.
  ///   - isImage: whether the artifact is a container image, whose layers are what their types say.
  init(of layer: Descriptor, isImage: Bool) {
    let type = layer.mediaType.withoutParameters.rawValue.lowercased()
    let isArchive = Self.isArchive(type)
    if isImage, layer.mediaType.isPlainImageTar {
      self = .tar
    } else if layer.annotations[Self.unpackKey] == "true" {
      self = .packed
    } else if isImage {
      self = layer.mediaType.isCompressedImageTar ? .packed : .file
    } else if Self.certain.contains(where: type.hasPrefix) {
      self = isArchive ? .packed : .file
    } else {
      self = isArchive ? .undecided : .file
    }
  }

  /// Whether a media type names a tar, or a compressed stream.
  private static func isArchive(_ type: String) -> Bool {
    let name = type.drop { $0 != "/" }.dropFirst()
    let words = name.split { "+.-".contains($0) }
    return words.contains { ["tar", "gtar", "gzip", "zstd"].contains($0) }
  }
}

/// A layer that cannot be opened as what its name promises.
package struct WithheldName: Sendable, Hashable {
  /// The path that the packaging gives it.
  package let path: String
  /// The path that it is shown at instead; nil where its bytes cannot be verified, and are not shown.
  package let shownAs: String?
  /// Why.
  package let reason: String

  /// The path that it has where it can be opened.
  var properPath: String { path.isEmpty ? shownAs ?? "" : path }

  /// A sentence for a user.
  package var text: String {
    guard let shownAs else { return "\(path.isEmpty ? "a layer" : "'\(path)'") is not shown: \(reason)" }
    return path.isEmpty
      ? "\(shownAs) is shown as it is: \(reason)" : "'\(path)' is shown as \(shownAs): \(reason)"
  }
}
