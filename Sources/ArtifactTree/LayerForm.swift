import Content
import OCI

/// How the bytes of a layer are packed, according to its descriptor.
///
/// A pure value.
enum LayerForm: Equatable {
  /// The layer is the file.
  case file
  /// The layer is a tar of an image, and its members are the files.
  case tar
  /// The layer is an archive or compressed stream of a file or a directory.
  case packed
  /// The media type is one that ORAS uses for files and tars alike: the first bytes decide.
  case undecided

  // Packagings whose media types determine the form of a layer.
  private static let certain = [
    "application/vnd.cncf.model.", "application/vnd.cnai.model.", "application/vnd.kitops.modelkit.",
    "application/vnd.docker.ai.",
  ]
  private static let unpackKey = "io.deis.oras.content.unpack"

  /// Determines the form from a descriptor.
  ///
  /// - Parameters:
  ///   - layer: The descriptor of the layer.
  ///   - isImage: Whether the artifact is a container image, whose media types are reliable.
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

  /// Whether a media type denotes a tar or a compressed stream.
  private static func isArchive(_ type: String) -> Bool {
    let name = type.drop { $0 != "/" }.dropFirst()
    let words = name.split { "+.-".contains($0) }
    return words.contains { ["tar", "gtar", "gzip", "zstd"].contains($0) }
  }
}

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
      ? "\(shownAs) is shown packed: \(reason)" : "'\(path)' is shown as \(shownAs): \(reason)"
  }
}
