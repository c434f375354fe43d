import BlobCache
package import Layouts
package import Stores
package import Content
import Glibc
import Logging
package import OCI
import Locking
import SystemPackage
package import Disk

/// Complete artifacts of the root: add, rename, convert and remove.
extension LocalRegistry {
  /// Returns where an artifact is stored: the kind of its place, in the words of the specifications, and the
  /// path.
  ///
  /// - Parameter artifact: The artifact.
  package func location(of artifact: LocalArtifact) -> (kind: String, path: String) {
    let kind =
      artifact.repository.format?.rawValue ?? (artifact.isAdditional ? "store" : "blobs")
    return (kind, artifact.repository.origin)
  }

  /// Returns the time of the last use of any of some blobs.
  ///
  /// - Parameter digests: The blobs of an artifact.
  /// - Returns: Nanoseconds since 1970; nil if no use is recorded, as for archives and stores.
  package func lastUse(of digests: [Digest]) async -> Int64? {
    await executor.ask { digests.compactMap { self.references.lastUse($0) }.max() }
  }

  /// Returns the size that an artifact declares, and the disk space of its files.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameter artifact: The artifact.
  /// - Returns: The bytes according to its descriptors, and the allocated bytes of each file.
  /// - Throws: `ContentError`.
  package func diskUse(
    of artifact: LocalArtifact
  ) throws(ContentError) -> (apparent: Int64, files: [FileIdentity: Int64]) {
    let (present, missing) = try files(of: artifact)
    var seen: Set<Digest> = []
    var apparent = missing.reduce(0) { $0 + $1.size }
    var files: [FileIdentity: Int64] = [:]
    for (descriptor, file) in present {
      if seen.insert(descriptor.digest).inserted { apparent += descriptor.size }
      files[file.identity] = Disk.allocatedBytes(file.path)
    }
    for descriptor in missing {
      let partial = root.partial(descriptor.digest)
      // A partial blob that was committed meanwhile is counted as complete.
      if let identity = try? FileIdentity(at: partial) { files[identity] = Disk.allocatedBytes(partial) }
    }
    return (apparent, files)
  }

  /// Collects the documents and open blobs of an artifact, from its layout or from the pool.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameter artifact: The artifact.
  /// - Throws: `ContentError`.
  package func contents(of artifact: LocalArtifact) throws(ContentError) -> ArtifactContents {
    guard !artifact.isAdditional else {
      return try ArtifactContents(artifact.descriptor, in: [artifact.repository])
    }
    // The pool first: its blobs are verified, and a layout's own copy may have been modified. Manifests are
    // read from
    // the layout: the pool may also have manifests of other platforms.
    return try ArtifactContents(
      artifact.descriptor,
      in: [poolRepository, artifact.repository, StoredBlobs(registry: self)],
      documents: artifact.hasLayout
        ? [artifact.repository] : nil
    )
  }

  /// Adds a complete artifact to the root, replacing one of the same name.
  ///
  /// Blocks the calling thread. An earlier artifact is removed once the new one is complete.
  ///
  /// - Parameters:
  ///   - contents: The artifact, without a missing blob.
  ///   - reference: The name of the artifact.
  ///   - format: The format of the layout; a tag that ends like the name of an archive always becomes an
  ///     archive.
  ///   - isFetched: Whether the artifact keeps its origin, so that its tag is resolved again; else it is
  ///     final until `pull`.
  ///   - expected: The artifact that must still have the name; nil for any.
  ///   - progress: Called with the number of bytes of blobs that were read.
  /// - Throws: `ContentError`.
  package func put(
    _ contents: ArtifactContents,
    as reference: Reference,
    format: LayoutFormat,
    isFetched: Bool = false,
    expected: LocalArtifact? = nil,
    progress: (Int64) -> Void = { _ in }
  ) throws(ContentError) {
    if let blob = contents.missing.first(where: { $0.verifiedData == nil }) {
      throw ContentError(
        .notFound,
        "\(reference)",
        "its blob \(blob.digest) is missing",
        advice: "Fetch the complete artifact first: 'weightfs pull \(reference)'"
      )
    }
    try refuseWhereShadowed(reference)
    if format == .archive || ReferencePath.isArchiveOnly(reference) {
      try putArchive(contents, reference, isFetched, expected, progress)
    } else {
      try putDirectory(contents, reference, isFetched, expected, progress)
    }
  }

  /// Throws if a read-only store has the name: stores take precedence, so the new artifact would be hidden.
  private func refuseWhereShadowed(_ reference: Reference) throws(ContentError) {
    guard let found = additionalArtifact(reference) else { return }
    throw ContentError(
      .unsupported,
      "\(reference)",
      "the read-only store \(found.repository.origin) has this name and takes precedence",
      advice: "Choose another tag, or remove the store from --additional-store"
    )
  }

  /// Throws if a name has a digest other than the artifact's.
  private func checkName(_ reference: Reference, _ contents: ArtifactContents) throws(ContentError) {
    guard case .digest(let digest) = reference.target, digest != contents.top.digest else { return }
    throw ContentError(
      .unsupported,
      "\(reference)",
      "the artifact has the digest \(contents.top.digest)",
      advice: "Name it by a tag, or by its own digest"
    )
  }

  /// Throws if a name no longer refers to the same artifact as at the start; called with the lock of
  /// references held.
  private func check(_ expected: LocalArtifact?, _ reference: Reference) throws(Errno) {
    guard let expected else { return }
    let found = try? findOwn(reference)
    guard found?.descriptor.digest == expected.descriptor.digest, found?.wasFetched == expected.wasFetched
    else {
      throw .canceled
    }
  }

  private func changed(_ reference: Reference) -> ContentError {
    ContentError(
      .unsupported,
      "\(reference)",
      "another process changed it in the meantime; nothing was written"
    )
  }

  /// Writes or removes the origin record.
  private func noteOrigin(_ reference: Reference, _ contents: ArtifactContents, isFetched: Bool) throws(Errno)
  {
    if !isFetched {
      OriginRecord.remove(root, reference)
    } else if !OriginRecord.exists(root, reference) {
      try noteOrigin(reference, contents.top, previous: nil, isPulled: true)
    }
  }

  private func putArchive(
    _ contents: ArtifactContents,
    _ reference: Reference,
    _ isFetched: Bool,
    _ expected: LocalArtifact?,
    _ progress: (Int64) -> Void
  ) throws(ContentError) {
    try checkName(reference, contents)
    let place = root.layout(reference)
    let target = FilePath(place.string + ReferencePath.archiveSuffixes[0])
    try space.makeRoom(contents.size)
    var file = try temporaryFile([.ownerReadWrite, .groupRead, .otherRead], for: "\(target)")
    try ArchiveWriter(contents, name: "\(reference)").write(to: file.descriptor, progress: progress)
    do throws(Errno) {
      let lock = try FileLock(waitingFor: root.locks.appending("reference"))
      defer { withExtendedLifetime(lock) {} }
      try check(expected, reference)
      let before = held(by: reference)
      try Disk.createFolder(place.removingLastComponent())
      try file.rename(to: target)
      noteVerified(contents, in: target)
      try noteOrigin(reference, contents, isFetched: isFetched)
      for suffix in ReferencePath.archiveSuffixes.dropFirst() {
        let other = FilePath(place.string + suffix)
        if Disk.isFile(other) { try Disk.remove(other) }
      }
      try removeDirectory(place)
      try drop(before, of: reference)
    } catch .canceled {
      throw changed(reference)
    } catch {
      throw ContentError(.disk, "\(target)", error)
    }
  }

  /// Records the blobs of an archive as verified, as they were hashed when the archive was written.
  private func noteVerified(_ contents: ArtifactContents, in archive: FilePath) {
    guard let written = try? OCIArchive(path: archive, executor: executor) else { return }
    for blob in contents.blobs.map(\.descriptor) {
      // If recording fails, the blob is only hashed again.
      if let file = try? written.blob(blob.digest) { try? pool.noteVerified(file, blob.digest) }
    }
  }

  private func putDirectory(
    _ contents: ArtifactContents,
    _ reference: Reference,
    _ isFetched: Bool,
    _ expected: LocalArtifact?,
    _ progress: (Int64) -> Void
  ) throws(ContentError) {
    let place = root.layout(reference)
    // Recorded before the blobs are added, so that `gc` does not take them for unreferenced.
    let blobs = contents.blobs.map(\.descriptor)
    try checkName(reference, contents)
    for blob in blobs + contents.documents.map(\.descriptor) {
      // A reference that is not recorded is recorded at the next open.
      try? references.add(reference, to: blob.digest)
    }
    // Kept open until the layout has them: open blobs are not evicted.
    var held: [BlobFile] = []
    for (blob, file) in contents.blobs { held.append(try take(blob, file, progress)) }
    do throws(Errno) {
      let lock = try FileLock(waitingFor: root.locks.appending("reference"))
      defer { withExtendedLifetime(lock) {} }
      try check(expected, reference)
      let before = self.held(by: reference)
      try write(place, reference, contents.top, contents.documents, blobs)
      for blob in blobs where !Disk.exists(place.appending(blob.digest.layoutPath)) {
        throw Errno.noSuchFileOrDirectory
      }
      try noteOrigin(reference, contents, isFetched: isFetched)
      for archive in archives(of: reference) { try Disk.remove(archive) }
      let now = Set(contents.blobs.map(\.descriptor.digest) + contents.documents.map(\.descriptor.digest))
      for digest in before.subtracting(now) { try Disk.remove(place.appending(digest.layoutPath)) }
      try drop(before.subtracting(now), of: reference)
    } catch .canceled {
      throw changed(reference)
    } catch {
      throw ContentError(.disk, "\(place)", error)
    }
    withExtendedLifetime(held) {}
  }

  /// Adds a blob to the pool if it is absent, and opens it.
  private func take(
    _ blob: Descriptor,
    _ file: BlobFile?,
    _ progress: (Int64) -> Void
  ) throws(ContentError) -> BlobFile {
    // Two attempts: another process may remove the blob before it is held.
    for _ in 0..<2 {
      if case .file(let held, isVerified: true) = try pool.complete(blob) { return held }
      if let file {
        try space.reserve(file.size)
        do throws(ContentError) {
          try pool.ingest(file, blob.digest, progress: progress)
          space.settle(promised: file.size, kept: file.size)
        } catch {
          space.settle(promised: file.size, kept: 0)
          throw error
        }
      } else if let data = blob.verifiedData {
        try pool.store(data, digest: blob.digest)
      }
    }
    throw ContentError(.disk, "\(blob.digest)", "the blob was removed during the copy", advice: "Try again")
  }

  /// Converts an artifact of the root to another format, unless it already has that format.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - reference: The name of the artifact.
  ///   - format: The new format of the layout.
  ///   - progress: Called with the number of bytes of blobs that were read.
  /// - Returns: Whether the artifact was converted.
  /// - Throws: `ContentError`.
  @discardableResult
  package func convert(
    _ reference: Reference,
    to format: LayoutFormat,
    progress: (Int64) -> Void = { _ in }
  ) throws(ContentError) -> Bool {
    guard let artifact = try find(reference), !artifact.isAdditional else {
      try refuseWhereShadowed(reference)
      throw ContentError(.notFound, "\(reference)", "is not in the local registry")
    }
    let wanted = ReferencePath.isArchiveOnly(reference) ? .archive : format
    guard location(of: artifact).kind != wanted.rawValue else { return false }
    let entries = try artifact.repository.index().manifests.count
    guard entries <= 1 else {
      throw ContentError(
        .unsupported,
        "\(reference)",
        "\(artifact.repository.origin) holds \(entries) artifacts, and only this one would be kept",
        advice: "Save the others first: 'skopeo copy oci:…'"
      )
    }
    let contents = try contents(of: artifact)
    try put(
      contents,
      as: reference,
      format: wanted,
      isFetched: artifact.wasFetched,
      expected: artifact,
      progress: progress
    )
    return true
  }

  /// Whether the root has a layout under a reference's name; true for a damaged layout too.
  package func hasLayout(_ reference: Reference) -> Bool {
    !archives(of: reference).isEmpty || spellings(reference).contains { OCIDirectory.exists(at: $0) }
  }

  // MARK: Parts

  func temporaryFile(
    _ permissions: FilePermissions,
    for subject: String
  ) throws(ContentError) -> TemporaryFile {
    do throws(Errno) {
      return try TemporaryFile(in: root.temporary, permissions: permissions)
    } catch {
      throw ContentError(.disk, subject, error)
    }
  }

  /// Returns the archives under a reference's name.
  func archives(of reference: Reference) -> [FilePath] {
    spellings(reference).flatMap { place in
      ReferencePath.archiveSuffixes.map { FilePath(place.string + $0) }.filter { Disk.isFile($0) }
    }
  }

  func spellings(_ reference: Reference) -> [FilePath] {
    ReferencePath.spellings(of: reference).map { root.path.appending($0) }
  }

  /// Returns the digests of all blobs and documents in a reference's layout.
  func held(by reference: Reference) -> Set<Digest> {
    var found: Set<Digest> = []
    for place in spellings(reference) {
      for algorithm in Digest.Algorithm.allCases {
        // A layout without one of the directories has no blobs in it.
        let names = (try? Disk.names(in: place.appending("blobs").appending(algorithm.rawValue))) ?? []
        found.formUnion(names.compactMap { Digest(algorithm: algorithm, hex: $0[...]) })
      }
    }
    var descriptors = OriginRecord.read(root, reference).map { [$0.descriptor] } ?? []
    let repository = (try? tree.repository(reference)).flatMap { $0 }
    descriptors += (try? repository?.index().manifests) ?? []
    for descriptor in descriptors {
      let places = [repository, poolRepository].compactMap { $0 }
      // A damaged manifest names no blob; the blobs themselves are counted above.
      guard let contents = try? ArtifactContents(descriptor.asManifest, in: places) else { continue }
      found.formUnion(contents.documents.map(\.descriptor.digest))
      found.formUnion(contents.blobs.map(\.descriptor.digest))
    }
    return found
  }
}
