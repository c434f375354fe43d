import BlobCache
import Content
import Fetching
import FileSystem
import LocalRegistry
import MountDaemon
import OCI

/// Brings what is missing of an artifact, with progress.
struct WholeArtifact {
  let artifact: LoadedArtifact
  let assembly: Assembly

  // Blobs of one artifact under way at once.
  private static let parallelBlobs = 4

  /// Config and layers, and bytes of them that are not here.
  func measure() async -> (total: Int64, missing: Int64) {
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
  /// - Parameter label: what the user calls it.
  /// - Returns: the blobs, which stay while they are held, and their bytes.
  /// - Throws: `ContentError`; where there cannot be room for all of it, before anything is fetched.
  func complete(_ label: String) async throws(ContentError) -> (blobs: [LazyBlob], total: Int64) {
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
    let space = assembly.local.space
    let fits = try await space.executor.run { () throws(ContentError) in try space.couldHold(missing) }
    guard fits else {
      let (used, limits) = try await space.executor.run { () throws(ContentError) in try space.usage() }
      let pulled = try await space.executor.run { () throws(ContentError) in try space.pulledBytes() }
      let free = max(limits.minimumFree, limits.defaultFree)
      let evictable =
        pulled > 0
        ? "'weightfs evict' of artifacts that were pulled could free \(Terminal.size(pulled)). " : ""
      throw ContentError(
        .disk,
        label,
        "\(Terminal.size(missing)) are to be fetched, and the local registry has no room for them: \(Terminal.size(used)) are used"
          + (limits.cacheLimit.map { " of the limit of \(Terminal.size($0))" } ?? "")
          + (free > 0 ? ", \(Terminal.size(free)) of the disk are to stay free" : ""),
        advice:
          "\(evictable)Raise --cache-limit, lower --min-free, or unpin and remove artifacts; 'weightfs gc --dry-run' lists what may go",
        isDiskFull: true
      )
    }
    let wanted = blobs
    let display = Progress.show(label, total: total, missing: missing) {
      wanted.reduce(0) { $0 + $1.status.cachedBytes }
    }
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
}
