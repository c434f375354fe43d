import BlobCache
package import Content
package import Fetching
import LocalRegistry
import OCI

/// Fetches what is missing of an artifact.
package struct WholeArtifact: Sendable {
  private let artifact: LoadedArtifact
  private let assembly: Assembly

  // Blobs of one artifact under way at once.
  private static let parallelBlobs = 4

  /// Looks at an artifact.
  ///
  /// - Parameters:
  ///   - artifact: whose config and layers are meant.
  ///   - assembly: the parts that fetch them.
  package init(artifact: LoadedArtifact, assembly: Assembly) {
    self.artifact = artifact
    self.assembly = assembly
  }

  /// Measures config and layers.
  ///
  /// - Returns: their bytes in all, and those that are not on this machine.
  package func measure() async -> (total: Int64, missing: Int64) {
    var total: Int64 = 0
    var missing: Int64 = 0
    for blob in artifact.blobs {
      let status = await assembly.store.status(blob, layout: artifact.layout)
      total += blob.size
      missing += blob.size - status.cachedBytes
    }
    return (total, missing)
  }

  /// Fetches and verifies every blob.
  ///
  /// - Parameters:
  ///   - label: the artifact's name for its user.
  ///   - show: begins the display of the progress.
  /// - Returns: the blobs, which are not evicted while they are held, and their bytes.
  /// - Throws: `ContentError`; where there cannot be room for all of it, before anything is fetched.
  package func complete(
    _ label: String,
    show: ShowWork
  ) async throws(ContentError) -> (blobs: [LazyBlob], total: Int64) {
    let (total, missing) = await measure()
    var blobs: [LazyBlob] = []
    for descriptor in artifact.blobs {
      blobs.append(
        try await assembly.store.open(
          descriptor,
          layout: artifact.layout,
          source: artifact.source,
          reference: artifact.reference
        )
      )
    }
    // Asked once they are open: what is here of it does not go to make room for the rest.
    try await checkRoom(missing, label)
    let wanted = blobs
    let work = Work(label: label, total: total, missing: missing) {
      wanted.reduce(0) { $0 + $1.status.cachedBytes }
    }
    let display = show(work)
    let failure: ContentError?
    do throws(ContentError) {
      try await ParallelWork.run(wanted, limit: Self.parallelBlobs) { (blob) async throws(ContentError) in
        try await blob.complete()
      }
      failure = nil
    } catch {
      failure = error
    }
    await display.end()
    await assembly.store.settle()
    if let failure { throw failure }
    return (blobs, total)
  }

  /// Refuses what there cannot be room for, and names what could be freed.
  private func checkRoom(_ missing: Int64, _ label: String) async throws(ContentError) {
    let space = assembly.local.space
    let fits = try await space.executor.run { () throws(ContentError) in try space.couldHold(missing) }
    guard fits else {
      let (used, limits) = try await space.executor.run { () throws(ContentError) in try space.usage() }
      let pulled = try await space.executor.run { () throws(ContentError) in try space.pulledBytes() }
      let free = max(limits.minimumFree, limits.defaultFree)
      let evictable =
        pulled > 0
        ? "'weightfs evict' of artifacts that were pulled could free \(ByteSize.text(pulled)). " : ""
      throw ContentError(
        .disk,
        label,
        "\(ByteSize.text(missing)) are to be fetched, and the local registry has no room for them: \(ByteSize.text(used)) are used"
          + (limits.cacheLimit.map { " of the limit of \(ByteSize.text($0))" } ?? "")
          + (free > 0 ? ", \(ByteSize.text(free)) of the disk are to stay free" : ""),
        advice:
          "\(evictable)Raise --cache-limit, lower --min-free, or unpin and remove artifacts; 'weightfs gc --dry-run' lists what may go",
        isDiskFull: true
      )
    }
  }
}
