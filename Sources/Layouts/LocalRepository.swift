package import Content
package import OCI
package import SystemPackage
package import Disk

/// A repository whose blobs are files on this machine.
package protocol LocalRepository: Repository {
  /// Opens a blob, or returns nil if the layout lacks it.
  ///
  /// - Throws: `ContentError`.
  func blob(_ digest: Digest) throws(ContentError) -> BlobFile?

  /// Reads the index.
  ///
  /// - Throws: `ContentError`.
  func index() throws(ContentError) -> Index

  /// Whether the repository is still at its path; false after it was converted to another format or removed.
  var isThere: Bool { get }

  /// Runs blocking disk operations.
  var executor: BlockingExecutor { get }

  /// The format of the layout; nil for stores in another format.
  var format: LayoutFormat? { get }

  /// The directory of an oci-dir, whose blobs can be replaced one by one; nil for all others.
  var directory: FilePath? { get }
}

extension LocalRepository {
  package var isThere: Bool { true }
  package var format: LayoutFormat? { nil }
  package var directory: FilePath? { nil }

  /// The annotation with the name of an entry (image-spec image-layout.md).
  package static var nameAnnotation: String { "org.opencontainers.image.ref.name" }

  package func resolve(_ target: Reference.Target) async throws(ContentError) -> Descriptor {
    let repository = self
    return try await executor.run { () throws(ContentError) in
      try LayoutEntry.named(target).descriptor(in: repository)
    }
  }

  /// Returns the entry of the index for a target, or nil.
  ///
  /// The name of an entry is a bare tag or a full reference.
  ///
  /// - Parameter target: A tag or a digest.
  /// - Throws: `ContentError`.
  package func entry(_ target: Reference.Target) throws(ContentError) -> Descriptor? {
    Self.entry(target, in: try index())
  }

  /// Returns the entry for a target in an index that was already read.
  package static func entry(_ target: Reference.Target, in index: Index) -> Descriptor? {
    let entries = index.manifests
    switch target {
    case .digest(let digest): return entries.first { $0.digest == digest }
    case .tag(let tag):
      return entries.first { $0.annotations[Self.nameAnnotation] == tag }
        ?? entries.first { $0.annotations[Self.nameAnnotation].flatMap(Self.tag) == tag }
    }
  }

  package static func tag(ofName name: String) -> String? {
    guard let colon = name.lastIndex(of: ":") else { return nil }
    let tag = name[name.index(after: colon)...]
    return Grammar.isTag(tag) ? String(tag) : nil
  }

  package func tags(limit: Int) async throws(ContentError) -> [String] {
    let repository = self
    return try await executor.run { () throws(ContentError) in
      let names = try repository.index().manifests.compactMap { $0.annotations[Self.nameAnnotation] }
      let tags = names.compactMap { Grammar.isTag($0) ? $0 : Self.tag(ofName: $0) }
      return Array(Set(tags).sorted().prefix(limit))
    }
  }

  package func fetch(
    _ descriptor: Descriptor,
    range: Range<Int64>,
    into sink: any BlobSink
  ) async throws(ContentError) {
    let repository = self
    try await executor.run { () throws(ContentError) in
      guard let file = try repository.blob(descriptor.digest) else {
        throw ContentError(
          .notFound,
          "\(descriptor.digest)",
          host: repository.origin,
          "the layout lacks this blob",
          advice: "Pull the artifact again, or copy the blob into the layout"
        )
      }
      guard file.size == descriptor.size else {
        throw ContentError(
          .corrupt,
          "\(descriptor.digest)",
          host: repository.origin,
          "the blob has \(file.size) bytes, the manifest says \(descriptor.size)"
        )
      }
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
      defer { buffer.deallocate() }
      var position = range.lowerBound
      while position < range.upperBound {
        let wanted = Int(min(Int64(buffer.count), range.upperBound - position))
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
        let count: Int
        do throws(Errno) {
          count = try Disk.read(file.descriptor, into: part, at: file.offset + position)
        } catch {
          throw ContentError(.disk, "\(file.path)", error)
        }
        guard count > 0 else {
          throw ContentError(
            .corrupt,
            "\(descriptor.digest)",
            host: repository.origin,
            "the file is shorter than the blob"
          )
        }
        guard sink.receive(UnsafeRawBufferPointer(rebasing: part[..<count]), at: position) else { return }
        position += Int64(count)
      }
    }
  }

  package static func parseIndex(_ bytes: [UInt8]?, _ origin: String) throws(ContentError) -> Index {
    guard let bytes else { throw ContentError(.notFound, origin, "index.json is missing") }
    do {
      return try JSONDocument.decode(Index.self, from: bytes)
    } catch {
      throw ContentError(
        .invalid,
        "\(origin)/index.json",
        error.reason,
        advice:
          "Create the layout again; for the local registry: 'weightfs rm', then 'weightfs pull'"
      )
    }
  }
}
