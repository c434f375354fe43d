import Stores
import BlobCache
import Layouts
package import Content
import Glibc
import Logging
package import OCI
import SystemPackage
import Disk

/// Removal of artifacts.
extension LocalRegistry {
  /// Removes an artifact from the root, with the blobs that no other artifact has.
  ///
  /// Blocks the calling thread. Processes that have its files open can go on reading.
  ///
  /// - Parameter reference: The name of the artifact.
  /// - Returns: The number of bytes freed.
  /// - Throws: `ContentError`; of code `unsupported` if only a read-only store has the artifact.
  package func remove(_ reference: Reference) throws(ContentError) -> Int64 {
    do throws(Errno) {
      let lock = try FileLock(waitingFor: root.locks.appending("reference"))
      defer { withExtendedLifetime(lock) {} }
      let archives = archives(of: reference)
      // A layout that this user cannot read is not absent.
      for path in spellings(reference) { try requireReadable(path.appending("oci-layout")) }
      let directories = spellings(reference).filter { OCIDirectory.exists(at: $0) }
      let isKnown = OriginRecord.read(root, reference) != nil
      if !archives.isEmpty || !directories.isEmpty || isKnown {
        let held = held(by: reference)
        var freed = archives.reduce(0) { $0 + Disk.allocatedBytes($1) }
        for archive in archives { try Disk.remove(archive) }
        for directory in directories { try removeDirectory(directory) }
        OriginRecord.remove(root, reference)
        // A pin that stays protects nothing, as its artifact is removed.
        _ = try? pins.remove(reference)
        freed += try drop(held, of: reference)
        removeEmptyFolders(above: root.layout(reference))
        return freed
      }
    } catch {
      throw ContentError(.disk, "\(root.layout(reference))", error)
    }
    if let found = additionalArtifact(reference) {
      throw ContentError(
        .unsupported,
        "\(reference)",
        "it is in the read-only store \(found.repository.origin), where nothing is removed",
        advice: "Remove it with the program that wrote the store"
      )
    }
    throw ContentError(
      .notFound,
      "\(reference)",
      "is not in the local registry",
      advice: "'weightfs ls' lists its artifacts"
    )
  }

  private func requireReadable(_ path: FilePath) throws(Errno) {
    do throws(Errno) {
      _ = try FileIdentity(at: path)
    } catch .noSuchFileOrDirectory, .notDirectory {
      return
    }
  }

  /// Moves a layout that cannot be parsed and that weightfs itself fetched to `bad`, so that a pull can fetch
  /// it again.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameter reference: The name of the artifact.
  /// - Returns: The new path; nil if weightfs did not fetch the layout, as it may not be fetchable.
  /// - Throws: `ContentError`.
  package func setLayoutAside(_ reference: Reference) throws(ContentError) -> String? {
    do throws(Errno) {
      let lock = try FileLock(waitingFor: root.locks.appending("reference"))
      defer { withExtendedLifetime(lock) {} }
      guard OriginRecord.exists(root, reference) else { return nil }
      try Disk.createFolder(root.bad)
      var place: FilePath?
      for path in archives(of: reference) + spellings(reference).filter({ Disk.isRealFolder($0) }) {
        let target = root.bad.appending("\(RealTime.now)-\(path.lastComponent?.string ?? "layout")")
        try Disk.rename(path, to: target)
        place = target
      }
      return place.map { "\($0)" }
    } catch {
      throw ContentError(.disk, "\(root.layout(reference))", error)
    }
  }

  /// Removes a reference from the records of blobs, and blobs without a reference from the pool.
  @discardableResult
  func drop(_ digests: Set<Digest>, of reference: Reference) throws(Errno) -> Int64 {
    var freed: Int64 = 0
    for digest in digests where try references.remove(reference, from: digest) == 0 && pool.has(digest) {
      // Another artifact may have started to use the blob in the meantime.
      let isNobodys = { self.references.known(of: digest)?.isEmpty ?? false }
      freed += try pool.evict(digest, from: [], evenIfOpen: true, isCertain: isNobodys)
      freed += try pool.evictPartial(digest, isCertain: isNobodys)
      if isNobodys() { references.remove(digest) }
    }
    return freed
  }

  /// Removes a reference from blobs that its new version does not have: from its layout and from the records.
  ///
  /// The blobs become evictable. Processes that have files of the earlier version open can go on reading.
  func leave(_ digests: Set<Digest>, of reference: Reference) throws(Errno) {
    for digest in digests {
      try Disk.remove(root.layout(reference).appending(digest.layoutPath))
      _ = try references.remove(reference, from: digest)
    }
  }

  /// Removes an oci-dir, `index.json` first, so that an incomplete removal does not leave a valid layout.
  ///
  /// Of a symbolic link only the link is removed, as its target does not belong to weightfs.
  func removeDirectory(_ path: FilePath) throws(Errno) {
    guard Disk.isRealFolder(path) else { return try Disk.remove(path) }
    try Disk.remove(path.appending("index.json"))
    try Disk.remove(path.appending("oci-layout"))
    let blobs = path.appending("blobs")
    do throws(Errno) {
      if Disk.isRealFolder(blobs) {
        for algorithm in try Disk.names(in: blobs) {
          let folder = blobs.appending(algorithm)
          guard Disk.isRealFolder(folder) else {
            try Disk.remove(folder)
            continue
          }
          for name in try Disk.names(in: folder) where !Disk.isRealFolder(folder.appending(name)) {
            try Disk.remove(folder.appending(name))
          }
          try Disk.removeFolder(folder)
        }
        try Disk.removeFolder(blobs)
      } else {
        try Disk.remove(blobs)
      }
      try Disk.removeFolder(path)
    } catch .directoryNotEmpty {
      // The directory has a file of another program, which weightfs does not remove.
      log.warning("directory not removed, as it is not empty", metadata: ["path": "\(path)"])
    }
  }

  private func removeEmptyFolders(above path: FilePath) {
    var folder = path.removingLastComponent()
    while folder.starts(with: root.path), folder != root.path {
      // A directory with other entries stays.
      guard (try? Disk.removeFolder(folder)) != nil else { return }
      folder.removeLastComponent()
    }
  }
}
