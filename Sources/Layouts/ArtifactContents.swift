package import Disk
package import Content
import Hashing
package import OCI
import SystemPackage

/// All parts of an artifact in a layout: its documents in memory, its blobs as open files.
package struct ArtifactContents: Sendable {
  /// The descriptor that the reference resolves to: of a manifest or an index.
  package let top: Descriptor
  /// The documents; an index comes before the documents it lists.
  package let documents: [ManifestDocument]
  /// Config and layers, each once; the file is nil if the layout lacks the blob.
  package let blobs: [(descriptor: Descriptor, file: BlobFile?)]

  /// The missing blobs.
  package var missing: [Descriptor] { blobs.filter { $0.file == nil }.map(\.descriptor) }

  /// Total size of the blobs in bytes.
  package var size: Int64 { blobs.reduce(0) { $0 + $1.descriptor.size } }

  // Indexes are nested one or two levels deep. No document can list itself, as it would have to contain its
  // own digest.
  private static let maximumDepth = 4
  private static let maximumDocuments = 10_000

  /// Collects an artifact.
  ///
  /// Blocks the calling thread. Missing manifests of an index are skipped, if at least one is present.
  ///
  /// - Parameters:
  ///   - top: The descriptor of a manifest or an index.
  ///   - places: Searched in order for each blob.
  ///   - documentPlaces: Searched in order for manifests and indexes; nil for `places`.
  ///   - checksSizes: Whether a blob of another size than in its descriptor is an error.
  /// - Throws: `ContentError`; of code `notFound` if no manifest is present, `corrupt` if a document does not
  ///   match its digest.
  package init(
    _ top: Descriptor,
    in places: [any LocalRepository],
    documents documentPlaces: [any LocalRepository]? = nil,
    checksSizes: Bool = true
  ) throws(ContentError) {
    // The top document may come from any place.
    let topPlaces = documentPlaces.map { $0 + places } ?? places
    self.top = top
    var documents: [ManifestDocument] = []
    var blobs: [(descriptor: Descriptor, file: BlobFile?)] = []
    var seen: Set<Digest> = []
    var open = [(top, 0)]
    var manifestCount = 0
    var lacking: Descriptor?
    while let (next, depth) = open.popLast() {
      guard seen.insert(next.digest).inserted else { continue }
      guard depth <= Self.maximumDepth, documents.count < Self.maximumDocuments else {
        throw ContentError(
          .invalid,
          "\(top.digest)",
          "its indexes are nested too deep or list too many manifests"
        )
      }
      let isChosen = documents.isEmpty || (open.isEmpty && manifestCount == 0)
      guard let document = try Self.document(next, isChosen ? topPlaces : documentPlaces ?? places) else {
        lacking = lacking ?? next
        continue
      }
      if checksSizes { try Self.check(document, next, places) }
      documents.append(document)
      switch document.content {
      case .index(let index): open += index.manifests.reversed().map { ($0.asManifest, depth + 1) }
      case .manifest(let manifest):
        manifestCount += 1
        for blob in (manifest.config.map { [$0] } ?? []) + manifest.layers
        where seen.insert(blob.digest).inserted {
          blobs.append((blob, try Self.file(blob, places, checksSizes: checksSizes)))
        }
      }
    }
    guard manifestCount > 0 else { throw Self.absence(lacking ?? top, places) }
    self.documents = documents
    self.blobs = blobs
  }

  private static func check(
    _ document: ManifestDocument,
    _ descriptor: Descriptor,
    _ places: [any LocalRepository]
  ) throws(ContentError) {
    let size = document.descriptor.size
    // The index of a root may lack the size.
    guard descriptor.size == 0 || descriptor.size == size else {
      throw ContentError(
        .corrupt,
        "\(descriptor.digest)",
        host: places.first?.origin,
        "the manifest has \(size) bytes, its descriptor says \(descriptor.size)"
      )
    }
  }

  private static func absence(_ descriptor: Descriptor, _ places: [any LocalRepository]) -> ContentError {
    ContentError(
      .notFound,
      "\(descriptor.digest)",
      host: places.first?.origin,
      "the layout lacks this manifest",
      advice: "Pull the artifact again, or copy the blob into the layout"
    )
  }

  private static func document(
    _ descriptor: Descriptor,
    _ places: [any LocalRepository]
  ) throws(ContentError) -> ManifestDocument? {
    var damage: ContentError?
    for place in places {
      guard let file = try place.blob(descriptor.digest), file.size <= ManifestDocument.maximumSize else {
        continue
      }
      var bytes = [UInt8](repeating: 0, count: Int(file.size))
      // A short read is reported as damage below.
      let count = bytes.withUnsafeMutableBytes { try? file.read(into: $0, at: 0) }
      if count == bytes.count, HashStream.digest(of: bytes, descriptor.digest.algorithm) == descriptor.digest
      {
        return try parse(bytes, descriptor, file.path)
      }
      // The next place may have an intact copy.
      damage = ContentError(
        .corrupt,
        "\(descriptor.digest)",
        host: "\(file.path)",
        "the bytes of the manifest do not match its digest",
        advice: "In the local registry 'weightfs pull' fetches it again"
      )
    }
    if let damage { throw damage }
    return nil
  }

  private static func parse(
    _ bytes: [UInt8],
    _ descriptor: Descriptor,
    _ path: FilePath
  ) throws(ContentError) -> ManifestDocument {
    do {
      return try ManifestDocument(bytes: bytes, digest: descriptor.digest, declared: descriptor.mediaType)
    } catch {
      throw ContentError(.invalid, "\(descriptor.digest)", host: "\(path)", error.reason)
    }
  }

  private static func file(
    _ descriptor: Descriptor,
    _ places: [any LocalRepository],
    checksSizes: Bool
  ) throws(ContentError) -> BlobFile? {
    var damage: ContentError?
    for place in places {
      guard let file = try place.blob(descriptor.digest) else { continue }
      if file.size == descriptor.size || !checksSizes { return file }
      damage =
        damage
        ?? ContentError(
          .corrupt,
          "\(descriptor.digest)",
          host: "\(file.path)",
          "the blob has \(file.size) bytes, its descriptor says \(descriptor.size)"
        )
    }
    if let damage { throw damage }
    return nil
  }
}
