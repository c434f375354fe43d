import OCI

/// What one layer becomes in the tree.
///
/// A pure value.
struct LayerPlan: Sendable, Equatable {
  /// The form of the layer's bytes, according to the descriptor.
  enum Form: Sendable, Equatable {
    /// The layer is the file.
    case file
    /// The layer is the file in compressed form.
    case compressedFile
    /// The layer is a tar, perhaps compressed, and its members are the files.
    case archive
    /// The media type is one that tools use for files and tars alike: the first bytes decide.
    case undecided
  }

  let layer: Descriptor
  /// The bytes of the file: the layer, or what it contains in compressed form.
  var content: Descriptor
  var form: Form
  /// The paths that the file may have, in order of preference; the first free one is used.
  var names: [String]
  /// Whether the first name was given by the tool that packed the file, so that it is a problem if the name
  /// cannot be used.
  var isNameGiven: Bool
  /// The directory that the members of an archive are placed in; empty for the root.
  var folder = ""
  /// The digest that the decompressed layer must have; nil if the packaging promises none.
  var diffID: Digest?
  /// The permission bits; only execute bits are used.
  var mode: UInt32 = 0
  /// The modification time in seconds since 1970; nil if the packaging has none.
  var modificationTime: Int64?

  /// The first name, if it was given by the tool that packed the file.
  var givenName: String? { isNameGiven ? names.first : nil }

  /// Creates a plan with the names and attributes that the annotations of a layer give.
  ///
  /// - Parameters:
  ///   - layer: The descriptor of the layer.
  ///   - form: The form of its bytes.
  ///   - names: The names for a layer without a name in its annotations.
  init(_ layer: Descriptor, _ form: Form, names: [String] = []) {
    let metadata = LayerName.metadata(of: layer)
    let name = LayerName.name(of: layer, metadata: metadata)
    self.layer = layer
    content = layer
    self.form = form
    self.names = name.map { [$0] } ?? names
    isNameGiven = name != nil
    mode = metadata?.mode ?? 0
    diffID = layer.annotations[Self.contentDigestKey].flatMap { Digest($0) }
    modificationTime = metadata?.mtime.flatMap(Timestamp.seconds)
  }

  /// Creates the plan of a layer whose media type is not one of its packaging's own.
  init(byMediaTypeOf layer: Descriptor) { self.init(layer, Self.form(byMediaTypeOf: layer)) }

  // ORAS marks a directory that it packed; without the mark its media type says nothing about the content.
  private static let unpackKey = "io.deis.oras.content.unpack"
  // ORAS: the digest of a directory's tar before its compression.
  private static let contentDigestKey = "io.deis.oras.content.digest"

  private static func form(byMediaTypeOf layer: Descriptor) -> Form {
    if layer.annotations[unpackKey] == "true" { return .archive }
    let words = LayerPlan.words(of: layer)
    return words.contains { ["tar", "gtar", "gzip", "zstd"].contains($0) } ? .undecided : .file
  }

  /// The words of a media type's subtype, in lower case: `vnd`, `oci`, `image`, `layer`, `v1`, `tar`, `gzip`.
  static func words(of layer: Descriptor) -> [Substring] {
    let type = layer.mediaType.withoutParameters.rawValue.lowercased()
    let subtype = type.drop { $0 != "/" }.dropFirst()
    return subtype.split { "+.-".contains($0) }
  }
}
