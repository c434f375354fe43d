package import Content
package import Fetching
package import OCI

/// The blobs of an artifact.
extension Assembly {
  // Number of blobs of one artifact fetched in parallel.
  private static let parallelBlobs = 4

  /// Opens a blob of an artifact.
  ///
  /// - Parameters:
  ///   - blob: The descriptor of a layer, of the content of a compressed layer, or of the config.
  ///   - artifact: The artifact.
  /// - Throws: `ContentError`.
  package func open(
    _ blob: Descriptor,
    of artifact: LoadedArtifact
  ) async throws(ContentError) -> LazyBlob {
    try await store.open(
      blob,
      layout: artifact.layout,
      source: artifact.source(of: blob),
      reference: artifact.reference
    )
  }

  /// Fetches all bytes of open blobs and verifies them.
  ///
  /// - Parameters:
  ///   - blobs: The blobs.
  ///   - label: The name of the artifact for the user.
  ///   - total: Their total size in bytes.
  ///   - missing: The bytes that are absent.
  ///   - show: Starts the progress display.
  /// - Throws: `ContentError`.
  func complete(
    _ blobs: [LazyBlob],
    _ label: String,
    total: Int64,
    missing: Int64,
    show: ShowWork
  ) async throws(ContentError) {
    let display = show(
      Work(label: label, total: total, missing: missing) {
        blobs.reduce(0) { $0 + $1.status.cachedBytes }
      }
    )
    let failure: ContentError?
    do throws(ContentError) {
      try await ParallelWork.run(blobs, limit: Self.parallelBlobs) { (blob) async throws(ContentError) in
        try await blob.complete()
      }
      failure = nil
    } catch {
      failure = error
    }
    await display.end()
    await store.settle()
    if let failure { throw failure }
  }
}
