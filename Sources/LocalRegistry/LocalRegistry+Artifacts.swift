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

/// Whole artifacts of the root: put there, renamed, rewritten, taken away.
extension LocalRegistry {
  /// Where an artifact lies.
  ///
  /// - Parameter artifact: as it was found.
  /// - Returns: the kind of its place, in words of specifications, and its path.
  package func location(of artifact: LocalArtifact) -> (kind: String, path: String) {
    let kind =
      artifact.repository.format?.rawValue ?? (artifact.isAdditional ? "store" : "blobs")
    return (kind, artifact.repository.origin)
  }

  /// When any of some blobs was last used.
  ///
  /// - Parameter digests: of an artifact.
  /// - Returns: nanoseconds since 1970; nil where nothing is noted, as for archives and stores.
  package func lastUse(of digests: [Digest]) async -> Int64? {
    await executor.ask { digests.compactMap { self.references.lastUse($0) }.max() }
  }

  /// What an artifact says it has, and the files that have it.
  ///
  /// Blocks.
  ///
  /// - Parameter artifact: as it was found.
  /// - Returns: bytes by its descriptors, and bytes on the disk for each file.
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
      if let identity = try? FileIdentity(at: partial) { files[identity] = Disk.allocatedBytes(partial) }
    }
    return (apparent, files)
  }

  /// Collects what an artifact is made of.
  ///
  /// Blocks.
  ///
  /// - Parameter artifact: as it was found.
  /// - Returns: documents and open blobs, of its layout or of the pool.
  /// - Throws: `ContentError`.
  package func contents(of artifact: LocalArtifact) throws(ContentError) -> ArtifactContents {
    guard !artifact.isAdditional else {
      return try ArtifactContents(artifact.descriptor, in: [artifact.repository])
    }
    // The pool first: what lies there was verified, and a layout's own copy may have been written to since. Manifests
    // are the layout's own: the pool may have those of other platforms.
    return try ArtifactContents(
      artifact.descriptor,
      in: [poolRepository, artifact.repository, StoredBlobs(registry: self)],
      documents: artifact.hasLayout
        ? [artifact.repository] : nil
    )
  }

  /// Puts a whole artifact into the root, under a name that may be taken.
  ///
  /// Blocks. What was there before goes once the new one is in place.
  ///
  /// - Parameters:
  ///   - contents: of which nothing may be missing.
  ///   - reference: its name.
  ///   - format: of its layout; a tag that ends like an archive's name is an archive whatever is asked for.
  ///   - isFetched: it keeps its origin, so that its tag is resolved anew; else it is final until `pull`.
  ///   - expected: what the name must stand for still; nil for whatever.
  ///   - progress: told the bytes of blobs that were read.
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
        "its blob \(blob.digest) is not here",
        advice: "Fetch the artifact whole first: 'weightfs pull \(reference)'"
      )
    }
    try refuseWhereShadowed(reference)
    if format == .archive || ReferencePath.isArchiveOnly(reference) {
      try putArchive(contents, reference, isFetched, expected, progress)
    } else {
      try putDirectory(contents, reference, isFetched, expected, progress)
    }
  }

  /// Read-only stores come first: what they hold under a name cannot be given another meaning here.
  private func refuseWhereShadowed(_ reference: Reference) throws(ContentError) {
    guard let found = additionalArtifact(reference) else { return }
    throw ContentError(
      .unsupported,
      "\(reference)",
      "the read-only store \(found.repository.origin) has it, and comes first",
      advice: "Choose another tag, or take the store out of --additional-store"
    )
  }

  /// A name with a digest is the name of that manifest alone.
  private func checkName(_ reference: Reference, _ contents: ArtifactContents) throws(ContentError) {
    guard case .digest(let digest) = reference.target, digest != contents.top.digest else { return }
    throw ContentError(
      .unsupported,
      "\(reference)",
      "the artifact has the digest \(contents.top.digest)",
      advice: "Name it by a tag, or by its own digest"
    )
  }

  /// Whether a name stands for what it stood for when the work began; asked under the lock of references.
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
      "it was changed by somebody else meanwhile, and stays as it is now"
    )
  }

  /// Keeps an origin, or forgets it.
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

  /// What was hashed while it was written need not be hashed again.
  private func noteVerified(_ contents: ArtifactContents, in archive: FilePath) {
    guard let written = try? OCIArchive(path: archive, executor: executor) else { return }
    for blob in contents.blobs.map(\.descriptor) {
      // What cannot be noted is hashed again; that is all.
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
    // Noted before the blobs come: an artifact on its way is not taken for an orphan.
    let blobs = contents.blobs.map(\.descriptor)
    try checkName(reference, contents)
    for blob in blobs + contents.documents.map(\.descriptor) {
      try? references.add(reference, to: blob.digest)
    }
    // Held open until the layout has them: nobody evicts what is open.
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

  /// Brings a blob into the pool if it is not there, and opens it.
  private func take(
    _ blob: Descriptor,
    _ file: BlobFile?,
    _ progress: (Int64) -> Void
  ) throws(ContentError) -> BlobFile {
    // Twice: another process may take it away before it is held.
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
    throw ContentError(.disk, "\(blob.digest)", "the blob went while it was taken over", advice: "Try again")
  }

  /// Rewrites an artifact of the root in another format; one that has it already stays as it is.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - reference: its name.
  ///   - format: of its layout from now on.
  ///   - progress: told the bytes of blobs that were read.
  /// - Returns: whether it was rewritten.
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
        "\(artifact.repository.origin) holds \(entries) artifacts, and only this one would stay",
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

  /// Whether a layout of the root has a reference's name.
  ///
  /// - Parameter reference: its name.
  /// - Returns: true also where the layout is damaged.
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

  /// The archives under a reference's name.
  func archives(of reference: Reference) -> [FilePath] {
    spellings(reference).flatMap { place in
      ReferencePath.archiveSuffixes.map { FilePath(place.string + $0) }.filter { Disk.isFile($0) }
    }
  }

  func spellings(_ reference: Reference) -> [FilePath] {
    ReferencePath.spellings(of: reference).map { root.path.appending($0) }
  }

  /// The digests that a reference's layout names or has.
  func held(by reference: Reference) -> Set<Digest> {
    var found: Set<Digest> = []
    for place in spellings(reference) {
      for algorithm in Digest.Algorithm.allCases {
        let names = (try? Disk.names(in: place.appending("blobs").appending(algorithm.rawValue))) ?? []
        found.formUnion(names.compactMap { Digest(algorithm: algorithm, hex: $0[...]) })
      }
    }
    var descriptors = OriginRecord.read(root, reference).map { [$0.descriptor] } ?? []
    let repository = (try? tree.repository(reference)).flatMap { $0 }
    descriptors += (try? repository?.index().manifests) ?? []
    for descriptor in descriptors {
      let places = [repository, poolRepository].compactMap { $0 }
      guard let contents = try? ArtifactContents(descriptor.asManifest, in: places) else { continue }
      found.formUnion(contents.documents.map(\.descriptor.digest))
      found.formUnion(contents.blobs.map(\.descriptor.digest))
    }
    return found
  }
}
