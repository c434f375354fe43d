import Layouts
import BlobCache
package import Stores
package import Content
import Glibc
import Logging
package import OCI
import SystemPackage
import Disk

/// What becomes of artifacts that weightfs itself fetches.
extension LocalRegistry {
  /// Makes archives of the artifacts that are whole with a blob, where that is wanted.
  ///
  /// Blocks.
  ///
  /// - Parameter digest: of a blob that was just committed.
  package func sealWhole(with digest: Digest) {
    guard sealsWhole else { return }
    for reference in references.references(of: digest) {
      do throws(ContentError) {
        guard let artifact = try findOwn(reference), artifact.wasFetched,
          artifact.repository.format != .archive,
          try contents(of: artifact).missing.allSatisfy({ $0.verifiedData != nil })
        else { continue }
        try convert(reference, to: .archive)
      } catch {
        log.warning(
          "an artifact cannot be made an archive",
          metadata: ["reference": "\(reference)", "reason": "\(error)"]
        )
      }
    }
  }

  /// Records what a registry said of a reference: the oci-dir, and that weightfs fetched it.
  ///
  /// - Parameters:
  ///   - reference: what was resolved.
  ///   - descriptor: what it stands for.
  ///   - documents: the manifest, and the indexes above it.
  ///   - blobs: config and layers.
  ///   - replacesFinal: what was loaded or put there gives way: a `pull`.
  /// - Returns: what has the name now; what is final keeps it.
  /// - Throws: `ContentError`.
  package func record(
    _ reference: Reference,
    root descriptor: Descriptor,
    documents: [ManifestDocument],
    blobs: [Descriptor],
    replacesFinal: Bool = false
  ) async throws(ContentError) -> LocalArtifact {
    let reference = reference.stored
    return try await executor.run { () throws(ContentError) in
      let place = self.root.layout(reference)
      self.want(blobs, reference)
      // Small, and written in a moment: noted before they are there, so that nobody takes them for orphans.
      for document in documents { try? self.references.add(reference, to: document.descriptor.digest) }
      do throws(Errno) {
        let lock = try FileLock(waitingFor: self.root.locks.appending("reference"))
        defer { withExtendedLifetime(lock) {} }
        let before = OriginRecord.read(self.root, reference)
        let isThere = OCIDirectory.exists(at: place)
        // Who resolved the name may have done so before another put something under it.
        if let found = try? self.findOwn(reference), self.hasLayout(reference), !replacesFinal {
          let isSame = found.descriptor.digest == descriptor.digest
          if !found.wasFetched || (isSame && found.repository.format == .archive) { return found }
        }
        let isRight = isThere && self.hasRight(documents, in: place)
        try self.noteOrigin(
          reference,
          descriptor,
          previous: before?.digest,
          isPulled: replacesFinal || before?.isPulled ?? false
        )
        if ReferencePath.isArchiveOnly(reference) {
          return try self.keepInPool(descriptor, documents)
        }
        try self.setArchivesAside(reference, unless: descriptor.digest, before)
        if let archive = self.archives(of: reference).first {
          let repository =
            OCIDirectory.exists(at: place) ? nil : try? OCIArchive(path: archive, executor: self.executor)
          if let repository {
            return LocalArtifact(
              descriptor: descriptor,
              repository: repository,
              wasFetched: true,
              isAdditional: false
            )
          }
        }
        if !isRight || before?.digest != descriptor.digest {
          let others =
            isThere
            ? self.otherEntries(of: place, than: [descriptor.digest, before?.digest, before?.previous]) : []
          let earlier = isThere && others.isEmpty ? self.held(by: reference) : []
          let foreign = isThere ? self.foreignEntries(of: place) : []
          try self.write(place, reference, descriptor, documents, blobs, keeping: others, foreign: foreign)
          let now = Set(blobs.map(\.digest) + documents.map(\.descriptor.digest))
          try self.leave(earlier.subtracting(now), of: reference)
        }
      } catch {
        throw ContentError(.disk, "\(place)", error)
      }
      let layout = OCIDirectory(path: place, executor: self.executor)
      return LocalArtifact(descriptor: descriptor, repository: layout, wasFetched: true, isAdditional: false)
    }
  }

  /// Keeps the documents of a reference that has no layout until it is whole.
  private func keepInPool(_ top: Descriptor, _ documents: [ManifestDocument]) throws(Errno) -> LocalArtifact {
    for document in documents {
      do throws(ContentError) {
        try pool.store(document.bytes, digest: document.descriptor.digest)
      } catch {
        throw error.isDiskFull ? .noSpace : .ioError
      }
    }
    return LocalArtifact(descriptor: top, repository: poolRepository, wasFetched: true, isAdditional: false)
  }

  /// Gives archives that hold another version the name of their digest: they would win over the new one's folder.
  private func setArchivesAside(
    _ reference: Reference,
    unless digest: Digest,
    _ record: OriginRecord?
  ) throws(Errno) {
    for archive in archives(of: reference) {
      guard let entries = try? OCIArchive(path: archive, executor: executor).index().manifests,
        let entry = entries.first, entries.count == 1, entry.digest != digest
      else { continue }
      let old = Reference(repository: reference.repository, target: .digest(entry.digest))
      let place = FilePath(root.layout(old).string + ReferencePath.archiveSuffixes[0])
      // What was fetched is fetched again by its digest; what was not would be lost.
      let wasFetched = [record?.digest, record?.previous].contains(entry.digest)
      if wasFetched || Disk.exists(place) {
        try Disk.remove(archive)
      } else {
        try Disk.rename(archive, to: place)
      }
    }
  }

  /// What other programs put into a layout beside the artifact that weightfs keeps there.
  private func otherEntries(of layout: FilePath, than own: [Digest?]) -> [Descriptor] {
    let entries = (try? OCIDirectory(path: layout, executor: executor).index().manifests) ?? []
    // The one entry of a layout is the artifact, whatever it was.
    return entries.count > 1 ? entries.filter { !own.contains($0.digest) } : []
  }

  /// Entries of a layout that cannot be read: another program put them there and can.
  private func foreignEntries(of layout: FilePath) -> [JSONValue] {
    (try? OCIDirectory(path: layout, executor: executor).index().foreign) ?? []
  }

  /// Whether a layout has documents as they are; a damaged one is taken out, so that it is written anew.
  private func hasRight(_ documents: [ManifestDocument], in layout: FilePath) -> Bool {
    var isRight = true
    for document in documents {
      let path = layout.appending(document.descriptor.digest.layoutPath)
      if (try? Disk.contents(of: path, limit: document.bytes.count)) == document.bytes { continue }
      try? Disk.remove(path)
      isRight = false
    }
    return isRight
  }

  func write(
    _ place: FilePath,
    _ reference: Reference,
    _ descriptor: Descriptor,
    _ documents: [ManifestDocument],
    _ blobs: [Descriptor],
    keeping others: [Descriptor] = [],
    foreign: [JSONValue] = []
  ) throws(Errno) {
    do throws(ContentError) {
      try LayoutWriter(pool: pool, path: place).write(
        top: descriptor,
        documents: documents,
        name: "\(reference)",
        blobs: blobs,
        keeping: others,
        foreign: foreign
      )
    } catch {
      log.warning("an oci-dir cannot be written", metadata: ["path": "\(place)", "reason": "\(error)"])
      throw error.isDiskFull ? Errno.noSpace : Errno.ioError
    }
  }

  func noteOrigin(
    _ reference: Reference,
    _ descriptor: Descriptor,
    previous: Digest?,
    isPulled: Bool
  ) throws(Errno) {
    do throws(ContentError) {
      let record = OriginRecord(
        reference: reference,
        descriptor: descriptor,
        previous: previous,
        isPulled: isPulled
      )
      try record.write(root, reference)
    } catch {
      throw Errno.ioError
    }
  }

  /// Notes that a reference wants blobs, so that each is put into its layout once it is complete.
  ///
  /// Blobs that are absent cost nothing: they are noted when they are opened (`noteHolder`). A manifest may list
  /// 30,000 of them. A pinned reference holds what others fetch as well, so all of its blobs are noted.
  func want(_ blobs: [Descriptor], _ reference: Reference) {
    let isPinned = pins.contains(reference)
    for blob in blobs where isPinned || pool.has(blob.digest) {
      // A blob that nothing is noted for is not evicted, until `gc` has looked; that is all.
      try? references.add(reference, to: blob.digest)
    }
  }

  /// Notes that a reference holds a blob that was opened, if the pool has any of it.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - reference: of the artifact by which the blob was opened.
  ///   - digest: of the blob.
  package func noteHolder(_ reference: Reference, of digest: Digest) {
    guard pool.has(digest) else { return }
    // As above: without its line the blob is not evicted until `gc` has looked.
    try? references.add(reference, to: digest)
  }

  /// Pins a reference: its blobs are not evicted, those that are fetched later for another reference included.
  ///
  /// Blocks.
  ///
  /// - Parameter reference: of an artifact of this root.
  /// - Throws: `ContentError`.
  package func pin(_ reference: Reference) throws(ContentError) {
    try pins.add(reference)
    guard let artifact = try find(reference), !artifact.isAdditional else { return }
    let contents = try contents(of: artifact)
    want(contents.blobs.map(\.descriptor) + contents.documents.map(\.descriptor), reference)
  }

  /// Notes an artifact of the root whose layout may lack blobs, and puts those in place that are complete; its damaged
  /// documents are replaced.
  ///
  /// - Parameters:
  ///   - reference: what it is called.
  ///   - artifact: as it was found.
  ///   - documents: the manifest, and the indexes above it, verified.
  ///   - blobs: config and layers.
  package func adopt(
    _ reference: Reference,
    _ artifact: LocalArtifact,
    documents: [ManifestDocument],
    blobs: [Descriptor]
  ) async {
    guard artifact.wasFetched, let layout = artifact.repository.directory else { return }
    try? await executor.run { () throws(ContentError) in
      self.want(blobs, reference)
      if !self.hasRight(documents, in: layout) {
        for document in documents {
          try self.pool.store(document.bytes, digest: document.descriptor.digest)
          try self.pool.place(document.descriptor.digest, into: layout)
        }
      }
      for blob in blobs where self.pool.hasComplete(blob) {
        try self.pool.place(blob.digest, into: layout)
      }
    }
  }
}
