import ArtifactTree
import Content
import Layouts
import LocalRegistry
import OCI
import SystemPackage
import BlobCache

/// Reading of manifests and indexes.
extension ArtifactLoader {
  /// Returns the indexes that lead to a manifest, followed by the manifest.
  func documents(
    _ root: Descriptor,
    _ layout: (any LocalRepository)?,
    _ source: (any Repository)?
  ) async throws(ContentError) -> (documents: [ManifestDocument], manifest: Manifest, notes: [String]) {
    try await ManifestPath.follow(root, platform) { (next) async throws(ContentError) in
      try await document(next, layout, source)
    }
  }

  private func document(
    _ descriptor: Descriptor,
    _ layout: (any LocalRepository)?,
    _ source: (any Repository)?
  ) async throws(ContentError) -> ManifestDocument {
    let pool = local.poolRepository
    var failure: ContentError?
    for repository in [layout, pool, source] as [(any Repository)?] {
      guard let repository else { continue }
      do throws(ContentError) {
        return try await repository.document(descriptor)
      } catch {
        // If a layout lacks a manifest or has a damaged one, the next place is tried.
        if failure == nil || repository.origin == source?.origin { failure = error }
      }
    }
    // A layout that names a manifest which it lacks is damaged: the name exists, so "no such file" would be wrong.
    if let layout, source == nil, failure.map({ $0.code == .notFound }) ?? true {
      throw ContentError(
        .corrupt,
        "\(descriptor.digest)",
        host: layout.origin,
        "the layout lists this manifest and lacks its blob",
        advice: "Pull the artifact again, or remove it with 'weightfs rm'",
        underlying: failure
      )
    }
    throw failure
      ?? ContentError(.offline, "\(descriptor.digest)", "the manifest is not in the local registry")
  }

  /// Returns when a manifest and its layers were first recorded, for artifacts without a creation time.
  func recordedTimes(_ manifest: Manifest, _ digest: Digest) async -> RecordedTimes {
    guard TreeLoader.created(manifest) == nil else { return RecordedTimes() }
    let digests = Set(LoadedArtifact.blobs(of: manifest).map(\.digest) + [digest])
    let records = local.times
    let times = await local.executor.ask { records.times(of: digests) }
    return RecordedTimes(artifact: times[digest] ?? 0, layers: times)
  }

  /// Returns the path of an archive: of its decompressed content in the cache if it is compressed.
  ///
  /// - Parameter path: A file, or anything else, which is returned as it is.
  /// - Throws: `ContentError`.
  func uncompressed(_ path: FilePath) async throws(ContentError) -> FilePath {
    let archive = try await local.executor.run { () throws(ContentError) in try CompressedArchive(path) }
    guard let archive else { return path }
    let content = try await unpacker.unpacked(archive.descriptor, archive.compression, archive)
    return local.root.blob(content.digest)
  }
}
