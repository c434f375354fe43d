import Layouts
import Stores
package import BlobCache
package import Content
import Glibc
import Logging
package import OCI
package import SystemPackage
import Disk

/// What `gc` removed and kept, or would.
package struct CollectionReport: Sendable {
  /// A file that is no longer needed.
  package struct Leftover: Sendable {
    package let path: String
    package let reason: String
  }

  package var leftovers: [Leftover] = []
  package var evicted: [EvictionPlan.Candidate] = []
  /// Number and bytes of the blobs that were kept, by the reason.
  package var kept: [EvictionPlan.Protection: (count: Int, bytes: Int64)] = [:]
  package var freed: Int64 = 0
  package var used: Int64 = 0
  package var limits = SpaceLimits()
}

/// Mark and sweep; the only operation that walks the complete tree.
extension LocalRegistry {
  // Nanoseconds. A younger blob may belong to an artifact in flight.
  static let grace: Int64 = 600_000_000_000
  // Nanoseconds. Time for a user to save the intact parts.
  static let damagedLife: Int64 = 7 * 86_400_000_000_000
  // Nanoseconds. A record of another program's file names an inode; an old record is removed, and created
  // again when
  // needed.
  static let recordLife: Int64 = 90 * 86_400_000_000_000

  /// Evicts the fetched blobs of an artifact.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameter reference: The name of the artifact.
  /// - Returns: The number of bytes freed, and how many blobs were kept for each reason.
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
        "it is in the read-only store \(artifact.repository.origin), where nothing is evicted"
      )
    }
    guard artifact.repository.format != .archive else {
      throw ContentError(
        .unsupported,
        "\(reference)",
        "the artifact is an archive, which cannot be partial",
        advice:
          "'weightfs convert --format oci-dir' makes it evictable, 'weightfs rm' removes it"
      )
    }
    let digests = withUnpacked(Set(try contents(of: artifact).blobs.map(\.descriptor.digest)))
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

  /// Removes unneeded files, determines the references of each blob, and enforces the limits of the root.
  ///
  /// Blocks the calling thread, for a time proportional to the number of artifacts.
  ///
  /// - Parameter dryRun: Only reports, without removing files.
  /// - Returns: What was removed, or would be.
  /// - Throws: `ContentError`.
  package func collect(dryRun: Bool) throws(ContentError) -> CollectionReport {
    var report = CollectionReport()
    do throws(Errno) {
      // Other processes run meanwhile: each file is checked again before it is removed.
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

  /// Removes files left by crashed processes that can be found without reading artifacts; runs at each start.
  ///
  /// - Parameter dryRun: Only reports, without removing files.
  /// - Returns: The files that were removed, or would be.
  @discardableResult
  func removeLeftovers(dryRun: Bool) -> [CollectionReport.Leftover] {
    let temporary =
      // Leftovers that cannot be removed are left to the next run.
      (try? TemporaryFile.removeLeftovers(in: root.temporary, now: RealTime.now, dryRun: dryRun)) ?? []
    var found = temporary.map {
      CollectionReport.Leftover(path: "\($0)", reason: "left by a process that was killed")
    }
    for algorithm in Digest.Algorithm.allCases {
      for name in (try? Disk.names(in: root.partials(algorithm))) ?? [] {
        // The blob was committed, and the process was killed before it removed these names.
        guard let digest = Digest(algorithm: algorithm, hex: name[...]), Disk.exists(root.blob(digest)),
          !pool.isOpen(digest, isPartial: true)
        else { continue }
        found.append(.init(path: "\(root.partial(digest))", reason: "its blob is complete"))
        // Names that stay are found again by the next run.
        if !dryRun { try? pool.removePartialNames(digest) }
      }
    }
    return found
  }

  /// Determines the references of each blob from the layouts.
  private func mark(
    dryRun: Bool,
    _ report: inout CollectionReport
  ) throws(Errno) -> [Digest: Set<Reference>] {
    var marked: [Digest: Set<Reference>] = [:]
    for reference in ownReferences() {
      // A layout that cannot be read is not weightfs' own to clean.
      let isFetched = (try? findOwn(reference))?.wasFetched ?? false
      if isFetched, try sweepBesideArchive(reference, dryRun: dryRun, &report) { continue }
      guard archives(of: reference).isEmpty else { continue }
      let held = named(by: reference)
      // A layout that cannot be parsed keeps all of its blobs.
      for digest in held.isEmpty ? self.held(by: reference) : held {
        marked[digest, default: []].insert(reference)
        guard !dryRun, pool.has(digest), !references.references(of: digest).contains(reference) else {
          continue
        }
        try references.add(reference, to: digest)
      }
      guard isFetched, !held.isEmpty else { continue }
      try sweepEarlier(reference, held, dryRun: dryRun, &report)
    }
    return marked
  }

  /// Returns the artifacts of the root, without those of stores, including those without a layout.
  private func ownReferences() -> Set<Reference> {
    var found: Set<Reference> = []
    for registry in (try? tree.registries()) ?? [] {
      var open: [[String]] = [[]]
      while let components = open.popLast() {
        // A directory that cannot be read has no artifacts to keep or remove.
        guard let children = try? tree.children(registry: registry, components: components) else { continue }
        if components.count < 64 { open += children.components.map { components + [$0] } }
        guard let name = RepositoryName(registry: registry, path: components.joined(separator: "/")) else {
          continue
        }
        found.formUnion(children.targets.map { Reference(repository: name, target: $0) })
      }
    }
    for record in OriginRecord.all(root) where Disk.exists(root.blob(record.digest)) {
      // A record of another version is no artifact.
      if let reference = try? Reference(parsing: record.reference) { found.insert(reference) }
    }
    return found
  }

  func named(by reference: Reference) -> Set<Digest> {
    // A layout that cannot be read names nothing, so that all of its blobs are kept.
    guard let artifact = try? findOwn(reference) else { return [] }
    var found: Set<Digest> = []
    // All entries of the layout: another program may have added some.
    let entries = (try? artifact.repository.index().manifests) ?? []
    for entry in Set(entries.map(\.asManifest) + [artifact.descriptor]) {
      guard let contents = try? ArtifactContents(entry, in: [artifact.repository, poolRepository]) else {
        return []
      }
      found.formUnion(contents.documents.map(\.descriptor.digest) + contents.blobs.map(\.descriptor.digest))
    }
    return withUnpacked(found)
  }

  /// Returns blobs, and those that were decompressed from them.
  private func withUnpacked(_ digests: Set<Digest>) -> Set<Digest> {
    digests.union(digests.compactMap { UnpackedRecord.read(root, $0)?.digest })
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
            report.leftovers.append(.init(path: "\(path)", reason: "not a blob"))
            if !dryRun { try Disk.remove(path) }
            continue
          }
          if stem != name {
            guard !Disk.exists(folder.appending(stem)), isOld(path) else { continue }
            report.leftovers.append(.init(path: "\(path)", reason: "the partial blob does not exist"))
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
          // An artifact may have started to use the blob in the meantime: then it has a reference that
          // exists.
          let isNobodys = {
            let names = self.references.references(of: digest)
            // A reference recorded recently belongs to an artifact in flight.
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

  func isOld(_ path: FilePath) -> Bool {
    // A file that was removed meanwhile is not old.
    guard let identity = try? FileIdentity(at: path) else { return false }
    return RealTime.now - identity.modified > Self.grace
  }

  func locked(_ body: () throws(Errno) -> Void) throws(Errno) {
    let lock = try FileLock(waitingFor: root.locks.appending("reference"))
    defer { withExtendedLifetime(lock) {} }
    try body()
  }

  func findOwnQuietly(_ reference: Reference) throws(Errno) -> LocalArtifact? {
    do throws(ContentError) {
      return try findOwn(reference)
    } catch {
      // A damaged layout counts as an existing artifact.
      return LocalArtifact(
        descriptor: Descriptor(mediaType: .imageManifest, digest: Verification.digest(of: []), size: 0),
        repository: poolRepository,
        wasFetched: true,
        isAdditional: false
      )
    }
  }

  /// Copies the bytes of a pipe to a temporary file of the root.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - input: Read to its end.
  ///   - body: Receives the path of the file.
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
