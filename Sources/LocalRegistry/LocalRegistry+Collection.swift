import Layouts
import Stores
package import BlobCache
package import Content
import Glibc
import Logging
package import OCI
package import SystemPackage
import Disk

/// What `gc` did, or would do.
package struct CollectionReport: Sendable {
  /// Something that nothing needs.
  package struct Leftover: Sendable {
    package let path: String
    package let reason: String
  }

  package var leftovers: [Leftover] = []
  package var evicted: [EvictionPlan.Candidate] = []
  /// Blobs that stay, and their bytes, by what keeps them.
  package var kept: [EvictionPlan.Protection: (count: Int, bytes: Int64)] = [:]
  package var freed: Int64 = 0
  package var used: Int64 = 0
  package var limits = SpaceLimits()
}

/// Mark and sweep, which alone walks the whole tree: nobody else has to.
extension LocalRegistry {
  // What is younger may belong to an artifact on its way.
  private static let grace: Int64 = 600_000_000_000
  // Somebody may want to save what is right in it.
  private static let damagedLife: Int64 = 7 * 86_400_000_000_000
  // Records of other programs' files name an inode; one that was not written for so long is made again when needed.
  private static let recordLife: Int64 = 90 * 86_400_000_000_000

  /// Evicts what was fetched of an artifact.
  ///
  /// Blocks.
  ///
  /// - Parameter reference: its name.
  /// - Returns: bytes that were freed, and how many blobs stay for which reason.
  /// - Throws: `ContentError`.
  package func evict(
    _ reference: Reference
  ) throws(ContentError) -> (freed: Int64, kept: [EvictionPlan.Protection: Int]) {
    guard let artifact = try find(reference) else {
      throw ContentError(.notFound, "\(reference)", "is not in the local registry")
    }
    guard !artifact.isAdditional else {
      throw ContentError(
        .unsupported,
        "\(reference)",
        "it lies in the read-only store \(artifact.repository.origin), where nothing is evicted"
      )
    }
    guard artifact.repository.format != .archive else {
      throw ContentError(
        .unsupported,
        "\(reference)",
        "it is an archive, which is whole or not there",
        advice:
          "'weightfs convert --format oci-dir' makes it one that can lack blobs, 'weightfs rm' removes it"
      )
    }
    let digests = Set(try contents(of: artifact).blobs.map(\.descriptor.digest))
    do throws(Errno) {
      let lock = try FileLock(waitingFor: root.locks.appending("evict"))
      defer { withExtendedLifetime(lock) {} }
      var freed: Int64 = 0
      var kept: [EvictionPlan.Protection: Int] = [:]
      for candidate in space.examine(digests) {
        if let protection = candidate.protection {
          kept[protection, default: 0] += 1
        } else {
          freed += try space.evict(candidate)
        }
      }
      return (freed, kept)
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
  }

  /// Removes what nothing needs, finds out whose each blob is, and brings the root within its limits.
  ///
  /// Blocks, in proportion to the artifacts there are.
  ///
  /// - Parameter dryRun: only tells.
  /// - Returns: what went, or would go.
  /// - Throws: `ContentError`.
  package func collect(dryRun: Bool) throws(ContentError) -> CollectionReport {
    var report = CollectionReport()
    do throws(Errno) {
      // Others go on meanwhile: each thing is looked at again before it goes.
      let lock = try FileLock(waitingFor: root.locks.appending("gc"))
      defer { withExtendedLifetime(lock) {} }
      let marked = try mark(dryRun: dryRun, &report)
      try sweepBlobs(marked, dryRun: dryRun, &report)
      try sweepState(marked, dryRun: dryRun, &report)
      report.leftovers += removeLeftovers(dryRun: dryRun)
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
    report.evicted = try space.enforce(dryRun: dryRun)
    report.freed += report.evicted.reduce(0) { $0 + $1.size }
    (report.used, report.limits) = try space.usage()
    do throws(Errno) {
      for candidate in try space.survey() {
        guard let protection = candidate.protection else { continue }
        let before = report.kept[protection] ?? (0, 0)
        report.kept[protection] = (before.count + 1, before.bytes + candidate.size)
      }
    } catch {
      throw ContentError(.disk, "\(root.path)", error)
    }
    return report
  }

  /// Removes what a process left that ended in the middle, as far as it is found without looking at artifacts: at each
  /// start.
  ///
  /// - Parameter dryRun: only tells.
  /// - Returns: what went, or would go.
  @discardableResult
  func removeLeftovers(dryRun: Bool) -> [CollectionReport.Leftover] {
    let temporary =
      (try? TemporaryFile.removeLeftovers(in: root.temporary, now: RealTime.now, dryRun: dryRun)) ?? []
    var found = temporary.map {
      CollectionReport.Leftover(path: "\($0)", reason: "left by a process that ended in the middle")
    }
    for algorithm in Digest.Algorithm.allCases {
      for name in (try? Disk.names(in: root.partials(algorithm))) ?? [] {
        // Committed, and killed before the names went.
        guard let digest = Digest(algorithm: algorithm, hex: name[...]), Disk.exists(root.blob(digest)),
          !pool.isOpen(digest, isPartial: true)
        else { continue }
        found.append(.init(path: "\(root.partial(digest))", reason: "its blob is complete"))
        if !dryRun { try? pool.removePartialNames(digest) }
      }
    }
    return found
  }

  /// The references of each blob, by the layouts themselves.
  private func mark(
    dryRun: Bool,
    _ report: inout CollectionReport
  ) throws(Errno) -> [Digest: Set<Reference>] {
    var marked: [Digest: Set<Reference>] = [:]
    for reference in ownReferences() {
      let held: Set<Digest>
      let place = root.layout(reference)
      let isFetched = (try? findOwn(reference))?.wasFetched ?? false
      if isFetched, OCIDirectory.exists(at: place), let archive = archives(of: reference).first,
        let entry = try? OCIArchive(path: archive, executor: executor).index().manifests.first,
        entry.digest == (try? OCIDirectory(path: place, executor: executor).index().manifests.first?.digest)
      {
        report.leftovers.append(.init(path: "\(place)", reason: "the archive beside it holds the same"))
        if !dryRun {
          try locked { () throws(Errno) in
            // The archive may have gone since.
            if !archives(of: reference).isEmpty { try removeDirectory(place) }
          }
        }
        continue
      }
      guard archives(of: reference).isEmpty else { continue }
      held = named(by: reference)
      // A layout that cannot be read keeps what it has: nothing is known of it.
      for digest in held.isEmpty ? self.held(by: reference) : held {
        marked[digest, default: []].insert(reference)
        guard !dryRun, pool.has(digest), !references.references(of: digest).contains(reference) else {
          continue
        }
        try references.add(reference, to: digest)
      }
      guard isFetched, !held.isEmpty else { continue }
      for algorithm in Digest.Algorithm.allCases {
        let folder = place.appending("blobs").appending(algorithm.rawValue)
        guard Disk.isRealFolder(place), Disk.isRealFolder(place.appending("blobs")), Disk.isRealFolder(folder)
        else {
          continue
        }
        for name in try Disk.names(in: folder) {
          if let digest = Digest(algorithm: algorithm, hex: name[...]), held.contains(digest) { continue }
          guard isOld(folder.appending(name)) else { continue }
          report.leftovers.append(
            .init(path: "\(folder.appending(name))", reason: "of an earlier version of the artifact")
          )
          guard !dryRun else { continue }
          try locked { () throws(Errno) in
            let digest = Digest(algorithm: algorithm, hex: name[...])
            if digest.map({ named(by: reference).contains($0) }) ?? false { return }
            try Disk.remove(folder.appending(name))
          }
        }
      }
    }
    return marked
  }

  /// Artifacts of the root alone, with those that have no layout yet.
  private func ownReferences() -> Set<Reference> {
    var found: Set<Reference> = []
    for registry in (try? tree.registries()) ?? [] {
      var open: [[String]] = [[]]
      while let components = open.popLast() {
        guard let children = try? tree.children(registry: registry, components: components) else { continue }
        if components.count < 64 { open += children.components.map { components + [$0] } }
        guard let name = RepositoryName(registry: registry, path: components.joined(separator: "/")) else {
          continue
        }
        found.formUnion(children.targets.map { Reference(repository: name, target: $0) })
      }
    }
    for record in OriginRecord.all(root) where Disk.exists(root.blob(record.digest)) {
      if let reference = try? Reference(parsing: record.reference) { found.insert(reference) }
    }
    return found
  }

  private func named(by reference: Reference) -> Set<Digest> {
    guard let artifact = try? findOwn(reference) else { return [] }
    var found: Set<Digest> = []
    // All that the layout lists: another program may have put more into it.
    let entries = (try? artifact.repository.index().manifests) ?? []
    for entry in Set(entries.map(\.asManifest) + [artifact.descriptor]) {
      guard let contents = try? ArtifactContents(entry, in: [artifact.repository, poolRepository]) else {
        return []
      }
      found.formUnion(contents.documents.map(\.descriptor.digest) + contents.blobs.map(\.descriptor.digest))
    }
    return found
  }

  private func sweepBlobs(
    _ marked: [Digest: Set<Reference>],
    dryRun: Bool,
    _ report: inout CollectionReport
  ) throws(Errno) {
    for algorithm in Digest.Algorithm.allCases {
      for (folder, isPartial) in [(root.blobs(algorithm), false), (root.partials(algorithm), true)] {
        for name in try Disk.names(in: folder) {
          let path = folder.appending(name)
          let stem = PartialNames.blob(ofMap: name) ?? name
          guard let digest = Digest(algorithm: algorithm, hex: stem[...]) else {
            guard isOld(path) else { continue }
            report.leftovers.append(.init(path: "\(path)", reason: "is no blob"))
            if !dryRun { try Disk.remove(path) }
            continue
          }
          if stem != name {
            guard !Disk.exists(folder.appending(stem)), isOld(path) else { continue }
            report.leftovers.append(.init(path: "\(path)", reason: "its partial blob is gone"))
            if !dryRun { try Disk.remove(path) }
            continue
          }
          guard marked[digest] == nil, isOld(path) || references.isNobodys(digest),
            !pool.isOpen(digest, isPartial: isPartial)
          else {
            continue
          }
          report.leftovers.append(.init(path: "\(path)", reason: "no artifact has it"))
          report.freed += Disk.allocatedBytes(path)
          guard !dryRun else { continue }
          // Somebody may have taken it up since: then it has a line of an artifact that is there.
          let isNobodys = {
            let names = self.references.references(of: digest)
            // A line that was written a moment ago is of an artifact on its way.
            let isFresh = !names.isEmpty && RealTime.now - (self.references.lastUse(digest) ?? 0) < Self.grace
            return !isFresh
              && names.allSatisfy { !self.hasLayout($0) && !OriginRecord.exists(self.root, $0) }
          }
          _ =
            isPartial
            ? try pool.evictPartial(digest, isCertain: isNobodys)
            : try pool.evict(digest, from: [], isCertain: isNobodys)
        }
      }
    }
  }

  private func isOld(_ path: FilePath) -> Bool {
    guard let identity = try? FileIdentity(at: path) else { return false }
    return RealTime.now - identity.modified > Self.grace
  }

  private func sweepState(
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
    try sweep(root.verified, "the blob is gone") { name, path in
      guard let identity = try? FileIdentity(at: path) else { return false }
      let age = RealTime.now - identity.modified
      if name.split(separator: "-").count > 2 { return age < Self.recordLife }
      return age < Self.grace || digest(name).map { Disk.exists(root.blob($0)) } ?? false
    }
    try sweep(root.bad, "was set aside as damaged, long ago") { _, path in
      RealTime.now - Disk.changeTime(path) < Self.damagedLife
    }
    let needed = Set(marked.keys.map { "partial-\($0.hex)" })
    try sweep(root.locks, "a lock of a blob that is gone") { name, path in
      guard name.hasPrefix("partial-") else { return true }
      if !needed.contains(name), !dryRun { FileLock.removeIfFree(path) }
      return true
    }
    for record in OriginRecord.all(root) {
      guard let reference = try? Reference(parsing: record.reference), try findOwnQuietly(reference) == nil
      else {
        continue
      }
      report.leftovers.append(.init(path: record.reference, reason: "its layout is gone"))
      guard !dryRun else { continue }
      try locked { () throws(Errno) in
        if try findOwnQuietly(reference) == nil { OriginRecord.remove(root, reference) }
      }
    }
  }

  private func locked(_ body: () throws(Errno) -> Void) throws(Errno) {
    let lock = try FileLock(waitingFor: root.locks.appending("reference"))
    defer { withExtendedLifetime(lock) {} }
    try body()
  }

  private func findOwnQuietly(_ reference: Reference) throws(Errno) -> LocalArtifact? {
    do throws(ContentError) {
      return try findOwn(reference)
    } catch {
      // A damaged layout is one all the same.
      return LocalArtifact(
        descriptor: Descriptor(mediaType: .imageManifest, digest: Verification.digest(of: []), size: 0),
        repository: poolRepository,
        wasFetched: true,
        isAdditional: false
      )
    }
  }

  /// Keeps what comes from a pipe in a file of the root while it is looked at.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - input: read to its end.
  ///   - body: gets the file's path.
  /// - Throws: `ContentError`.
  package func withSpooled(
    _ input: FileDescriptor,
    _ body: (FilePath) throws(ContentError) -> Void
  ) throws(ContentError) {
    let file = try temporaryFile([.ownerReadWrite], for: "standard input")
    do throws(Errno) {
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
      defer { buffer.deallocate() }
      while true {
        let count = Glibc.read(input.rawValue, buffer.baseAddress, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw Errno(rawValue: errno) }
        guard count > 0 else { break }
        try Disk.append(file.descriptor, UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      }
    } catch {
      throw ContentError(.disk, "standard input", error)
    }
    try body(file.path)
  }
}
