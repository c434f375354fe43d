import Layouts
import BlobCache
package import Stores
package import Content
import Glibc
import Logging
package import OCI
import SystemPackage
import Disk

/// Records of artifacts that weightfs itself fetches.
extension LocalRegistry {
  /// Converts the artifacts that became complete with a blob into archives, if the options say so.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameter digest: A blob that was just committed.
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
          "cannot convert an artifact into an archive",
          metadata: ["reference": "\(reference)", "reason": "\(error)"]
        )
      }
    }
  }

  /// Records the resolution of a reference: writes the oci-dir and the origin record.
  ///
  /// - Parameters:
  ///   - reference: The resolved reference.
  ///   - descriptor: The descriptor that it resolves to.
  ///   - documents: The manifest, and the indexes above it.
  ///   - blobs: Config and layers.
  ///   - replacesFinal: Whether a final artifact is replaced, as by `pull`.
  /// - Returns: The artifact that has the name now; a final artifact keeps its name unless it is replaced.
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
      // Documents are small and written soon: recorded before they exist, so that `gc` does not take them for
      // unreferenced.
      for document in documents { try? self.references.add(reference, to: document.descriptor.digest) }
      do throws(Errno) {
        let lock = try FileLock(waitingFor: self.root.locks.appending("reference"))
        defer { withExtendedLifetime(lock) {} }
        let before = OriginRecord.read(self.root, reference)
        let isThere = OCIDirectory.exists(at: place)
        // Another process may have added an artifact under the name since it was resolved.
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
        if !isThere, let archive = self.readableArchive(of: reference) {
          return self.fetched(descriptor, archive)
        }
        if !isRight || before?.digest != descriptor.digest {
          try self.rewrite(reference, descriptor, documents, blobs, before, isThere: isThere)
        }
      } catch {
        throw ContentError(.disk, "\(place)", error)
      }
      return self.fetched(descriptor, OCIDirectory(path: place, executor: self.executor))
    }
  }

  private func fetched(_ descriptor: Descriptor, _ repository: any LocalRepository) -> LocalArtifact {
    LocalArtifact(descriptor: descriptor, repository: repository, wasFetched: true, isAdditional: false)
  }

  /// The first archive of a reference; nil if there is none, or it cannot be read and is replaced by an oci-dir.
  private func readableArchive(of reference: Reference) -> OCIArchive? {
    guard let path = archives(of: reference).first else { return nil }
    return try? OCIArchive(path: path, executor: executor)
  }

  /// Writes the oci-dir of a reference, and releases the blobs that only its earlier manifest named.
  private func rewrite(
    _ reference: Reference,
    _ descriptor: Descriptor,
    _ documents: [ManifestDocument],
    _ blobs: [Descriptor],
    _ before: OriginRecord?,
    isThere: Bool
  ) throws(Errno) {
    let place = root.layout(reference)
    let others =
      isThere ? otherEntries(of: place, than: [descriptor.digest, before?.digest, before?.previous]) : []
    let earlier = isThere && others.isEmpty ? held(by: reference) : []
    let foreign = isThere ? foreignEntries(of: place) : []
    try write(place, reference, descriptor, documents, blobs, keeping: others, foreign: foreign)
    let now = Set(blobs.map(\.digest) + documents.map(\.descriptor.digest))
    try leave(earlier.subtracting(now), of: reference)
  }

  /// Stores the documents of a reference that has no layout until it is complete.
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

  /// Renames archives of another version to the name of their digest, as they would take precedence over the
  /// new oci-dir.
  private func setArchivesAside(
    _ reference: Reference,
    unless digest: Digest,
    _ record: OriginRecord?
  ) throws(Errno) {
    for archive in archives(of: reference) {
      // An archive that cannot be read is replaced.
      guard let entries = try? OCIArchive(path: archive, executor: executor).index().manifests,
        let entry = entries.first, entries.count == 1, entry.digest != digest
      else { continue }
      let old = Reference(repository: reference.repository, target: .digest(entry.digest))
      let place = FilePath(root.layout(old).string + ReferencePath.archiveSuffixes[0])
      // A fetched version can be fetched again by its digest; any other would be lost.
      let wasFetched = [record?.digest, record?.previous].contains(entry.digest)
      if wasFetched || Disk.exists(place) {
        try Disk.remove(archive)
      } else {
        try Disk.rename(archive, to: place)
      }
    }
  }

  /// Returns the entries that other programs added to a layout beside the artifact of weightfs.
  private func otherEntries(of layout: FilePath, than own: [Digest?]) -> [Descriptor] {
    let entries = (try? OCIDirectory(path: layout, executor: executor).index().manifests) ?? []
    // A single entry is the artifact itself, whatever its digest.
    return entries.count > 1 ? entries.filter { !own.contains($0.digest) } : []
  }

  /// Returns entries that weightfs cannot parse, but the program that added them can.
  private func foreignEntries(of layout: FilePath) -> [JSONValue] {
    (try? OCIDirectory(path: layout, executor: executor).index().foreign) ?? []
  }

  /// Whether a layout has the right documents; a damaged one is removed, so that it is written again.
  private func hasRight(_ documents: [ManifestDocument], in layout: FilePath) -> Bool {
    var isRight = true
    for document in documents {
      let path = layout.appending(document.descriptor.digest.layoutPath)
      // A document that cannot be read is written again.
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
      log.warning("cannot write an oci-dir", metadata: ["path": "\(place)", "reason": "\(error)"])
      throw error.errnoOfDisk
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
      throw error.errnoOfDisk
    }
  }

  /// Records that a reference has some blobs, so that each is linked into its layout once it is complete.
  ///
  /// Absent blobs are skipped and recorded when they are opened (`noteHolder`), as a manifest may list 30,000
  /// of them. All blobs of a pinned reference are recorded, as it protects blobs that are fetched for other
  /// references too.
  func want(_ blobs: [Descriptor], _ reference: Reference) {
    let isPinned = pins.contains(reference)
    for blob in blobs where isPinned || pool.has(blob.digest) {
      // If recording fails, the blob is not evicted until the next `gc`.
      try? references.add(reference, to: blob.digest)
    }
  }

  /// Records that a reference has a blob that was opened, if the pool has any bytes of it.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - reference: The artifact through which the blob was opened.
  ///   - digest: The digest of the blob.
  package func noteHolder(_ reference: Reference, of digest: Digest) {
    guard pool.has(digest) else { return }
    // If recording fails, the blob is not evicted until the next `gc`.
    try? references.add(reference, to: digest)
  }

  /// Pins a reference: its blobs are not evicted, including those that are fetched later for another
  /// reference.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameter reference: An artifact of this root.
  /// - Throws: `ContentError`.
  package func pin(_ reference: Reference) throws(ContentError) {
    try pins.add(reference)
    guard let artifact = try find(reference), !artifact.isAdditional else { return }
    let contents = try contents(of: artifact)
    want(contents.blobs.map(\.descriptor) + contents.documents.map(\.descriptor), reference)
  }

  /// Records an artifact of the root whose layout may lack blobs, links the complete blobs into it, and
  /// replaces damaged documents.
  ///
  /// - Parameters:
  ///   - reference: The name of the artifact.
  ///   - artifact: The artifact.
  ///   - documents: The manifest, and the indexes above it, verified.
  ///   - blobs: Config and layers.
  package func adopt(
    _ reference: Reference,
    _ artifact: LocalArtifact,
    documents: [ManifestDocument],
    blobs: [Descriptor]
  ) async {
    guard artifact.wasFetched, let layout = artifact.repository.directory else { return }
    // An artifact that cannot be recorded is recorded at its next look-up.
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
