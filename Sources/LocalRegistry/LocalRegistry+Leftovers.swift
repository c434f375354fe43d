import Layouts
import BlobCache
import OCI
import SystemPackage
import Disk

/// Files that `gc` removes beside unreferenced blobs: of crashes, of earlier versions, of removed artifacts.
extension LocalRegistry {
  /// Removes the oci-dir of an artifact whose archive has the same manifest.
  ///
  /// - Returns: Whether there is such an archive.
  func sweepBesideArchive(
    _ reference: Reference,
    dryRun: Bool,
    _ report: inout CollectionReport
  ) throws(Errno) -> Bool {
    let place = root.layout(reference)
    // A layout or archive that cannot be read is no reason to remove the other one.
    guard OCIDirectory.exists(at: place), let archive = archives(of: reference).first,
      let entry = try? OCIArchive(path: archive, executor: executor).index().manifests.first,
      entry.digest == (try? OCIDirectory(path: place, executor: executor).index().manifests.first?.digest)
    else { return false }
    report.leftovers.append(.init(path: "\(place)", reason: "the archive beside it has the same"))
    guard !dryRun else { return true }
    try locked { () throws(Errno) in
      // The archive may have been removed in the meantime.
      if !archives(of: reference).isEmpty { try removeDirectory(place) }
    }
    return true
  }

  /// Removes the blobs of a layout that no manifest of it names any more.
  func sweepEarlier(
    _ reference: Reference,
    _ held: Set<Digest>,
    dryRun: Bool,
    _ report: inout CollectionReport
  ) throws(Errno) {
    let place = root.layout(reference)
    for algorithm in Digest.Algorithm.allCases {
      let folder = place.appending("blobs").appending(algorithm.rawValue)
      guard Disk.isRealFolder(place), Disk.isRealFolder(place.appending("blobs")), Disk.isRealFolder(folder)
      else { continue }
      for name in try Disk.names(in: folder) {
        let digest = Digest(algorithm: algorithm, hex: name[...])
        if digest.map({ held.contains($0) }) ?? false { continue }
        let path = folder.appending(name)
        guard isOld(path) else { continue }
        report.leftovers.append(
          .init(path: "\(path)", reason: "belongs to an earlier version of the artifact")
        )
        guard !dryRun else { continue }
        try locked { () throws(Errno) in
          if digest.map({ named(by: reference).contains($0) }) ?? false { return }
          try Disk.remove(path)
        }
      }
    }
  }

  func sweepState(
    _ marked: [Digest: Set<Reference>],
    dryRun: Bool,
    _ report: inout CollectionReport
  ) throws(Errno) {
    func sweep(_ folder: FilePath, _ reason: String, _ isNeeded: (String, FilePath) -> Bool) throws(Errno) {
      for name in try Disk.names(in: folder) {
        let path = folder.appending(name)
        guard !isNeeded(name, path) else { continue }
        report.leftovers.append(.init(path: "\(path)", reason: reason))
        guard !dryRun else { continue }
        if Disk.isRealFolder(path) { try removeDirectory(path) } else { try Disk.remove(path) }
      }
    }
    func digest(_ name: String) -> Digest? {
      let parts = name.split(separator: "-", maxSplits: 2)
      return parts.count > 1 ? Digest("\(parts[0]):\(parts[1].prefix { $0 != "." })") : nil
    }
    func isKnown(_ name: String) -> Bool {
      digest(name).map { marked[$0] != nil || Disk.exists(root.blob($0)) || Disk.exists(root.partial($0)) }
        ?? false
    }
    try sweep(root.references, "no artifact has the blob") { name, path in isKnown(name) || !isOld(path) }
    try sweep(root.chunks, "no artifact has the blob") { name, path in isKnown(name) || !isOld(path) }
    try sweep(root.profiles, "no artifact has the blob") { name, path in isKnown(name) || !isOld(path) }
    try sweep(root.unpacked, "no artifact has the layer") { name, path in
      // Mounts of layouts outside of the root use records of layers that no artifact of the root has. A record
      // that was removed meanwhile needs nothing.
      guard !isKnown(name), let identity = try? FileIdentity(at: path) else { return true }
      return RealTime.now - identity.modified < Self.recordLife
    }
    try sweep(root.verified, "the blob does not exist") { name, path in
      // A file that was removed meanwhile needs no record.
      guard let identity = try? FileIdentity(at: path) else { return false }
      let age = RealTime.now - identity.modified
      if name.split(separator: "-").count > 2 { return age < Self.recordLife }
      return age < Self.grace || digest(name).map { Disk.exists(root.blob($0)) } ?? false
    }
    try sweep(root.bad, "damaged and set aside more than 7 days ago") { _, path in
      RealTime.now - Disk.changeTime(path) < Self.damagedLife
    }
    let needed = Set(marked.keys.flatMap { ["partial-\($0.hex)", "unpack-\($0.hex)"] })
    try sweep(root.locks, "lock of a blob that does not exist") { name, path in
      guard name.hasPrefix("partial-") || name.hasPrefix("unpack-") else { return true }
      if !needed.contains(name), !dryRun { FileLock.removeIfFree(path) }
      return true
    }
    try sweepOrigins(dryRun: dryRun, &report)
  }

  func sweepOrigins(dryRun: Bool, _ report: inout CollectionReport) throws(Errno) {
    for record in OriginRecord.all(root) {
      // A record of another version names no reference.
      guard let reference = try? Reference(parsing: record.reference), try findOwnQuietly(reference) == nil
      else {
        continue
      }
      report.leftovers.append(.init(path: record.reference, reason: "the layout does not exist"))
      guard !dryRun else { continue }
      try locked { () throws(Errno) in
        if try findOwnQuietly(reference) == nil { OriginRecord.remove(root, reference) }
      }
    }
  }
}
