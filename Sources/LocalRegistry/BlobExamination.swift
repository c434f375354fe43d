import Layouts
package import Stores
package import BlobCache
package import Content
import Dispatch
import Glibc
import Locking
import Hashing
package import OCI
import SystemPackage
package import Disk

/// The result of reading and hashing a complete blob file.
package struct BlobExamination: Sendable {
  /// Byte ranges of the blob that are wrong or missing; the complete blob if the ranges are unknown.
  package let damage: [Range<Int64>]
  /// Whether a chunk list identified the damaged ranges.
  package let isExact: Bool
  /// The chunk list of the bytes that were read.
  package let chunks: ChunkList?

  /// Whether no byte is damaged.
  package var isIntact: Bool { damage.isEmpty }

  /// Reads and hashes a file: chunks on all cores in parallel if a list proves the complete digest, else
  /// sequentially.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - file: The file that has the blob.
  ///   - descriptor: The expected digest and size.
  ///   - list: A list of an earlier verification, or nil.
  ///   - progress: Called with the number of bytes read, on any thread.
  /// - Throws: `Errno` if the file cannot be read at all.
  init(
    _ file: BlobFile,
    _ descriptor: Descriptor,
    list: ChunkList?,
    progress: @Sendable (Int64) -> Void
  ) throws(Errno) {
    guard let list, list.isProof(of: descriptor.digest) else {
      self = try Self.inOrder(file, descriptor, list: list, progress)
      return
    }
    let damage = try Self.wrongChunks(file, list, progress)
    guard !damage.isEmpty || file.size != descriptor.size else {
      self.init(damage: [], isExact: false, chunks: list)
      return
    }
    // If the complete digest matches, the list is wrong.
    let whole = try Self.inOrder(file, descriptor, list: nil) { _ in }
    self = whole.isIntact ? whole : BlobExamination(damage: damage, isExact: true, chunks: nil)
  }

  private init(damage: [Range<Int64>], isExact: Bool, chunks: ChunkList?) {
    self.damage = damage
    self.isExact = isExact
    self.chunks = chunks
  }

  /// Returns the ranges of chunks that do not match a list, in order; several threads work in parallel.
  private static func wrongChunks(
    _ file: BlobFile,
    _ list: ChunkList,
    _ progress: @Sendable (Int64) -> Void
  ) throws(Errno) -> [Range<Int64>] {
    let result = Mutex<(wrong: Set<Int>, failure: Errno?)>(([], nil))
    let next = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: ProcessorCount.value) { _ in
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(list.chunkSize), alignment: 4096)
      defer { buffer.deallocate() }
      while true {
        let chunk = next.add(1, ordering: .relaxed).oldValue
        guard chunk < list.count, result.withLock({ $0.failure == nil }) else { return }
        let range = list.range(of: chunk)
        do throws(Errno) {
          let bytes = try read(file, range, buffer)
          if !list.matches(bytes, chunk: chunk) { _ = result.withLock { $0.wrong.insert(chunk) } }
        } catch {
          result.withLock { $0.failure = error }
        }
        progress(Int64(range.count))
      }
    }
    let (wrong, failure) = result.withLock { $0 }
    if let failure { throw failure }
    return wrong.sorted().reduce(into: []) { damage, chunk in add(list.range(of: chunk), to: &damage) }
  }

  /// Returns the readable bytes of a chunk.
  private static func read(
    _ file: BlobFile,
    _ range: Range<Int64>,
    _ buffer: UnsafeMutableRawBufferPointer
  ) throws(Errno) -> UnsafeRawBufferPointer {
    let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count])
    do throws(Errno) {
      return UnsafeRawBufferPointer(rebasing: part[..<(try file.read(into: part, at: range.lowerBound))])
    } catch .ioError {
      // An unreadable sector or a failed fs-verity check: this chunk is damaged, others may be intact.
      return UnsafeRawBufferPointer(rebasing: part[..<0])
    }
  }

  private static func add(_ range: Range<Int64>, to damage: inout [Range<Int64>]) {
    if let last = damage.last, last.upperBound == range.lowerBound {
      damage[damage.count - 1] = last.lowerBound..<range.upperBound
    } else {
      damage.append(range)
    }
  }

  private static func inOrder(
    _ file: BlobFile,
    _ descriptor: Descriptor,
    list: ChunkList?,
    _ progress: (Int64) -> Void
  ) throws(Errno) -> BlobExamination {
    let chunkSize = list?.chunkSize ?? BlockMap.chunkSize
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(chunkSize), alignment: 4096)
    defer { buffer.deallocate() }
    var whole = HashStream(descriptor.digest.algorithm)
    var damage: [Range<Int64>] = []
    var entries: [UInt8] = []
    for (chunk, position) in stride(from: 0, to: descriptor.size, by: Int(chunkSize)).enumerated() {
      let range = position..<min(position + chunkSize, descriptor.size)
      let bytes = try read(file, range, buffer)
      whole.update(bytes)
      if range.upperBound < descriptor.size { entries += whole.state?.bytes ?? [] }
      let isRight = bytes.count == range.count && (list.map { $0.matches(bytes, chunk: chunk) } ?? true)
      if !isRight { add(range, to: &damage) }
      progress(Int64(range.count))
    }
    entries += descriptor.digest.algorithm == .sha256 ? descriptor.digest.bytes : []
    let isRight = whole.finish() == descriptor.digest && file.size == descriptor.size
    // If the complete digest matches, the list is wrong and is replaced.
    if isRight {
      let chunks = ChunkList(entries, blobSize: descriptor.size, chunkSize: chunkSize, kind: .states)
      return BlobExamination(damage: [], isExact: false, chunks: chunks)
    }
    let isExact = list != nil && !damage.isEmpty
    return BlobExamination(damage: isExact ? damage : [0..<descriptor.size], isExact: isExact, chunks: nil)
  }
}

extension LocalRegistry {
  /// Returns every file that has bytes of an artifact, and the blobs that are absent.
  ///
  /// Blocks the calling thread. A layout's hard link is the pool's file; a layout's copy is a file of its
  /// own.
  ///
  /// - Parameter artifact: The artifact.
  /// - Returns: The files of each blob, the pool's file first.
  /// - Throws: `ContentError`; of code `corrupt` if a document does not match its digest.
  package func files(
    of artifact: LocalArtifact
  ) throws(ContentError) -> (present: [(descriptor: Descriptor, file: BlobFile)], missing: [Descriptor]) {
    let own = try ArtifactContents(
      artifact.descriptor,
      in: [artifact.repository, poolRepository],
      checksSizes: false
    )
    let descriptors = own.documents.map(\.descriptor) + own.blobs.map(\.descriptor)
    let usesPool = !artifact.isAdditional && artifact.repository.format != .archive
    var present: [(descriptor: Descriptor, file: BlobFile)] = []
    var missing: [Descriptor] = []
    for descriptor in descriptors {
      let pooled = usesPool ? try poolRepository.blob(descriptor.digest) : nil
      let placed = try artifact.repository.blob(descriptor.digest)
      if let pooled { present.append((descriptor, pooled)) }
      if let placed, pooled.map({ !$0.identity.isSameFile(as: placed.identity) }) ?? true {
        present.append((descriptor, placed))
      }
      if pooled == nil, placed == nil, descriptor.verifiedData == nil { missing.append(descriptor) }
    }
    return (present, missing)
  }

  /// Whether the pool has a verified blob.
  package func hasVerified(_ descriptor: Descriptor) -> Bool {
    if case .file(_, isVerified: true) = try? pool.complete(descriptor) { true } else { false }
  }

  /// Returns the references that are recorded as having a blob.
  package func holders(of digest: Digest) -> [Reference] { references.references(of: digest) }

  /// Replaces a layout's damaged copy with the pool's blob.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - file: The copy, in an oci-dir of the root.
  ///   - descriptor: The descriptor of the blob.
  ///   - artifact: The artifact that the layout belongs to.
  /// - Returns: False if the pool has no verified blob.
  /// - Throws: `ContentError`.
  package func replaceCopy(
    _ file: BlobFile,
    _ descriptor: Descriptor,
    of artifact: LocalArtifact
  ) throws(ContentError) -> Bool {
    let layout = artifact.repository
    guard owns(layout), let directory = layout.directory,
      file.path != root.blob(descriptor.digest),
      case .file(_, isVerified: true) = try pool.complete(descriptor)
    else { return false }
    remove(descriptor.digest, from: layout)
    try pool.place(descriptor.digest, into: directory)
    return true
  }

  /// Reads and hashes a file of an artifact, and records the result.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - file: The file that has the blob.
  ///   - descriptor: The expected digest and size.
  ///   - progress: Called with the number of bytes read, on any thread.
  /// - Throws: `ContentError` if the file cannot be read.
  package func examine(
    _ file: BlobFile,
    _ descriptor: Descriptor,
    progress: @Sendable (Int64) -> Void
  ) throws(ContentError) -> BlobExamination {
    let lists = ChunkListStore(root: root)
    let list = lists.read(descriptor)
    let examination: BlobExamination
    do throws(Errno) {
      examination = try BlobExamination(file, descriptor, list: list, progress: progress)
    } catch {
      throw ContentError(.disk, "\(file.path)", error)
    }
    if !examination.isIntact, file.path == root.blob(descriptor.digest) {
      // The next open hashes it, moves it to `bad`, and fetches it again.
      try? pool.noteDoubt(descriptor.digest)
    } else if !examination.isIntact {
      // A part of an archive or a file of a store: it is not served until the file is modified.
      try? pool.noteDamaged(file, descriptor.digest)
    }
    if examination.isIntact, file.isInPlace {
      // If recording fails, a later verification determines the same again.
      try? pool.noteVerified(file, descriptor.digest)
      if let chunks = examination.chunks { try? lists.write(chunks, of: descriptor.digest) }
    }
    return examination
  }

  /// Records the reference of a blob that existed only in a layout, so that the blob is linked there again
  /// after its repair.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the blob.
  ///   - reference: An artifact of the root.
  package func claim(_ descriptor: Descriptor, for reference: Reference) { want([descriptor], reference) }

  /// Turns a damaged blob into a partial one that lacks the damaged bytes, so that only these are fetched
  /// again.
  ///
  /// Blocks the calling thread. The blob is removed from all layouts of the root until it is complete.
  ///
  /// - Parameters:
  ///   - file: The file with the damaged blob: the pool's file, or a part of an archive.
  ///   - descriptor: The descriptor of the blob.
  ///   - damage: The wrong byte ranges.
  /// - Throws: `ContentError`.
  package func reopen(
    _ file: BlobFile,
    _ descriptor: Descriptor,
    damage: [Range<Int64>]
  ) throws(ContentError) {
    do throws(Errno) {
      removeLinks(of: descriptor.digest, to: file.identity)
      try pool.reopen(file, descriptor, damage: damage)
    } catch {
      throw ContentError(.disk, "\(file.path)", error)
    }
  }

  /// Moves a damaged file that cannot be repaired to `bad`, so that it is not served.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - file: The file with the damaged blob.
  ///   - digest: The digest of the blob.
  /// - Returns: The new path; nil if the file was not moved, as it is outside of the root or part of an
  ///   archive.
  /// - Throws: `ContentError`.
  package func setAside(_ file: BlobFile, _ digest: Digest) throws(ContentError) -> String? {
    // The other blobs of an archive may be intact: the archive stays, and only the damaged blob is refused.
    guard file.path.starts(with: root.path), file.offset == 0 else { return nil }
    do throws(Errno) {
      let isPools = file.path == root.blob(digest)
      if isPools { removeLinks(of: digest, to: file.identity) }
      let name = file.path.lastComponent?.string ?? digest.hex
      let target = root.bad.appending(
        file.path == root.blob(digest) ? "\(digest.algorithm)-\(digest.hex)" : "\(RealTime.now)-\(name)"
      )
      try Disk.createFolder(root.bad)
      if isPools {
        try pool.setAside(digest, ifItIs: file.identity)
      } else {
        try Disk.rename(file.path, to: target)
      }
      return "\(target)"
    } catch {
      throw ContentError(.disk, "\(file.path)", error)
    }
  }
}
