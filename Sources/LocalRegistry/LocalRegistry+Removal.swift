import Stores
import BlobCache
import Layouts
package import Content
import Glibc
import Logging
package import OCI
import SystemPackage
import Disk

/// Artifacts that go, and what they leave to others.
extension LocalRegistry {
  /// Takes an artifact out of the root, with the blobs that no other one has.
  ///
  /// Blocks. Who has it open goes on reading.
  ///
  /// - Parameter reference: its name.
  /// - Returns: bytes that were freed.
  /// - Throws: `ContentError`; `unsupported` where a read-only store alone has it.
  package func remove(_ reference: Reference) throws(ContentError) -> Int64 {
    do throws(Errno) {
      let lock = try FileLock(waitingFor: root.locks.appending("reference"))
      defer { withExtendedLifetime(lock) {} }
      let archives = archives(of: reference)
      let directories = spellings(reference).filter { OCIDirectory.exists(at: $0) }
      let isKnown = OriginRecord.read(root, reference) != nil
      if !archives.isEmpty || !directories.isEmpty || isKnown {
        let held = held(by: reference)
        var freed = archives.reduce(0) { $0 + Disk.allocatedBytes($1) }
        for archive in archives { try Disk.remove(archive) }
        for directory in directories { try removeDirectory(directory) }
        OriginRecord.remove(root, reference)
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
        "it lies in the read-only store \(found.repository.origin), where nothing is removed",
        advice: "Remove it with the program that wrote the store"
      )
    }
    throw ContentError(
      .notFound,
      "\(reference)",
      "is not in the local registry",
      advice: "'weightfs ls' lists what is"
    )
  }

  /// Moves a layout away that cannot be read and that weightfs itself fetched, so that a pull can bring it again.
  ///
  /// Blocks.
  ///
  /// - Parameter reference: its name.
  /// - Returns: where it is now; nil where it was not fetched, and may not be had again.
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

  /// Takes a reference out of the records of blobs, and the blobs that no reference has any more out of the pool.
  @discardableResult
  func drop(_ digests: Set<Digest>, of reference: Reference) throws(Errno) -> Int64 {
    var freed: Int64 = 0
    for digest in digests where try references.remove(reference, from: digest) == 0 && pool.has(digest) {
      // Another artifact may have taken it up since.
      let isNobodys = { self.references.known(of: digest)?.isEmpty ?? false }
      freed += try pool.evict(digest, from: [], evenIfOpen: true, isCertain: isNobodys)
      freed += try pool.evictPartial(digest, isCertain: isNobodys)
      if isNobodys() { references.remove(digest) }
    }
    return freed
  }

  /// Leaves what a reference had and has no more to who evicts: out of its layout, and out of its name.
  ///
  /// Who has the earlier version open goes on reading.
  func leave(_ digests: Set<Digest>, of reference: Reference) throws(Errno) {
    for digest in digests {
      try Disk.remove(root.layout(reference).appending(digest.layoutPath))
      _ = try references.remove(reference, from: digest)
    }
  }

  /// Takes an oci-dir away: `index.json` first, so that at no moment half of it counts as one.
  ///
  /// A symbolic link is taken away itself: what it leads to is not weightfs'.
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
      // Something of another program lies in it, which is not weightfs' to remove.
      log.warning("a folder is not empty and stays", metadata: ["path": "\(path)"])
    }
  }

  private func removeEmptyFolders(above path: FilePath) {
    var folder = path.removingLastComponent()
    while folder.starts(with: root.path), folder != root.path {
      guard (try? Disk.removeFolder(folder)) != nil else { return }
      folder.removeLastComponent()
    }
  }
}
