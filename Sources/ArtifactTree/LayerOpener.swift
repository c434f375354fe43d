import Archive
import Content
import OCI

/// Opens one layer: finds out what its bytes are, decompresses it, and reads the members of a tar.
struct LayerOpener {
  let plan: LayerPlan
  /// The compression, if the layer was decompressed before: then its bytes are not needed.
  let known: Compression?
  /// The first bytes of the layer; nil if they do not matter.
  let first: Result<[UInt8], ContentError>?
  let indexes: TarIndexCache
  let bytes: any LayerBytes

  /// Opens the layer.
  ///
  /// - Parameters:
  ///   - number: The number of the layer in the artifact.
  ///   - isStacked: Whether the layer changes the layers below it.
  ///   - created: The time of files without a time of their own, in seconds since 1970.
  /// - Throws: `ContentError` if bytes cannot be fetched, or a layer that changes others cannot be read.
  func open(_ number: Int, isStacked: Bool, created: Int64) async throws(ContentError) -> TreeContent.Step {
    let format = try format()
    do throws(ContentError) {
      switch decided(format) {
      case .file: return .raw(raw(created, format))
      case .doubtful(let reason): return .raw(raw(created, format, doubt: reason))
      case .compressedFile:
        guard let compression = format?.compression else { return .raw(raw(created, format)) }
        var file = plan
        file.content = try await bytes.unpacked(plan.layer, compression)
        return .raw(RawLayer(plan: file, created: created, doubt: nil, note: note(format)))
      case .archive:
        var layer = plan.layer
        if let compression = format?.compression {
          layer = try await bytes.unpacked(plan.layer, compression)
          try checkDigest(of: layer)
        }
        let index = try await indexes.index(of: layer, bytes: bytes)
        if plan.namesDirectory, !isOwnDirectory(FirstMember(index)) { return .raw(raw(created, nil)) }
        let tar = TarLayer(layer, of: plan, number: number, hasWhiteouts: isStacked)
        return .tar(tar, index, note: note(format))
      }
    } catch {
      // Bytes that are there and cannot be opened stay as they are.
      guard !isStacked, error.underlying is ArchiveError else { throw error }
      return .raw(raw(created, format, doubt: "\(plan.layer.mediaType): \(error.reason)"))
    }
  }

  /// Compares the decompressed layer with the digest that the artifact promises.
  private func checkDigest(of content: Descriptor) throws(ContentError) {
    guard let promised = plan.diffID, promised.algorithm == content.digest.algorithm,
      promised != content.digest
    else { return }
    let reason = "the decompressed layer has the digest \(content.digest), the artifact promises \(promised)"
    throw ContentError(
      .corrupt,
      "\(plan.layer.digest)",
      reason,
      advice: "Push the artifact again with a tool that writes its digests correctly",
      underlying: ArchiveError(reason: reason)
    )
  }

  private enum Decision {
    case file
    case doubtful(String)
    case compressedFile
    case archive
  }

  /// Returns the format of an archive, or nil for other content.
  ///
  /// - Throws: `ContentError` if an archive cannot be read. Other layers are judged when their file is read.
  private func format() throws(ContentError) -> ArchiveFormat? {
    if let known { return known == .gzip ? .gzip : .zstd }
    switch first {
    case .success(let bytes)?: return ArchiveFormat(first: bytes)
    case .failure(let error)? where plan.form != .undecided: throw error
    case .failure?, nil: return nil
    }
  }

  private func decided(_ format: ArchiveFormat?) -> Decision {
    switch plan.form {
    case .file: return .file
    case .compressedFile: return .compressedFile
    case .archive:
      // A file under the media type of an archive: it is what its name promises.
      let isFile = format == nil && !promises.isEmpty && doubt == nil
      return isFile ? .file : .archive
    case .undecided:
      guard let format else { return doubt.map { .doubtful($0) } ?? .file }
      // The first member of a plain tar may lie behind the first bytes; then its index decides.
      guard plan.namesDirectory, case .success(let bytes)? = first else { return .archive }
      let member = FirstMember(first: bytes)
      return isOwnDirectory(member) || (member == nil && format == .tar) ? .archive : .file
    }
  }

  /// Whether a tar with this first member is an archive of the directory that the layer is named after.
  private func isOwnDirectory(_ member: FirstMember?) -> Bool {
    guard let member, let name = plan.names.first else { return false }
    return member.isBelow(name)
  }

  private var promises: [ModelMagic] { plan.names.compactMap { ModelMagic(name: $0) } }

  /// Why the first bytes do not match the format that the name promises, or nil.
  private var doubt: String? {
    guard case .success(let bytes)? = first, let magic = promises.first else { return nil }
    return magic.doubt(bytes, size: plan.layer.size)
  }

  private func raw(_ created: Int64, _ format: ArchiveFormat?, doubt: String? = nil) -> RawLayer {
    RawLayer(plan: plan, created: created, doubt: doubt, note: doubt == nil ? note(format) : nil)
  }

  /// A sentence for the user if the media type and the content differ.
  private func note(_ format: ArchiveFormat?) -> String? {
    guard plan.form == .archive || plan.form == .compressedFile else { return nil }
    let words = LayerPlan.words(of: plan.layer)
    let promised: ArchiveFormat? =
      words.contains("gzip") ? .gzip : words.contains("zstd") ? .zstd : words.contains("tar") ? .tar : nil
    guard let promised, promised != format, plan.layer.size > 0 else { return nil }
    // An empty tar has no header.
    if promised == .tar, format == nil, promises.isEmpty { return nil }
    return
      "the media type \(plan.layer.mediaType) of layer \(plan.layer.digest) promises a \(promised.rawValue),"
      + " its content is a \(format?.rawValue ?? "file"): it is shown by its content"
  }
}
