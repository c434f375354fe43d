import BlobCache
package import Content
package import Fetching
import LocalRegistry
import OCI

/// Fetches the missing blobs of an artifact.
package struct WholeArtifact: Sendable {
  private let artifact: LoadedArtifact
  private let assembly: Assembly

  /// Prepares to fetch an artifact.
  ///
  /// - Parameters:
  ///   - artifact: The artifact.
  ///   - assembly: The components that fetch.
  package init(artifact: LoadedArtifact, assembly: Assembly) {
    self.artifact = artifact
    self.assembly = assembly
  }

  /// Returns the total size of config and layers, and the bytes that are absent on this machine.
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
  ///   - label: The name of the artifact for the user.
  ///   - show: Starts the progress display.
  /// - Returns: The blobs, which are not evicted while they are held, and their total size in bytes.
  /// - Throws: `ContentError`; before any request if the artifact cannot fit into the limits.
  package func complete(
    _ label: String,
    show: ShowWork
  ) async throws(ContentError) -> (blobs: [LazyBlob], total: Int64) {
    let (total, missing) = await measure()
    var blobs: [LazyBlob] = []
    for descriptor in artifact.blobs {
      blobs.append(try await assembly.open(descriptor, of: artifact))
    }
    // Checked while the blobs are open, so that they are not counted as evictable.
    try await checkRoom(missing, label)
    try await assembly.complete(blobs, label, total: total, missing: missing, show: show)
    return (blobs, total)
  }

  /// Throws if the artifact cannot fit into the limits, naming how much could be evicted.
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
        "not enough space for \(ByteSize.text(missing)) in the local registry: \(ByteSize.text(used)) used"
          + (limits.cacheLimit.map { " of the limit of \(ByteSize.text($0))" } ?? "")
          + (free > 0 ? ", \(ByteSize.text(free)) of the disk must stay free" : ""),
        advice:
          "\(evictable)Raise --cache-limit, lower --min-free, or unpin and remove artifacts; 'weightfs gc --dry-run' lists candidates",
        isDiskFull: true
      )
    }
  }
}
