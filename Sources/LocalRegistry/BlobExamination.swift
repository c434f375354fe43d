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

/// What reading a blob's file from its start to its end showed.
package struct BlobExamination: Sendable {
  /// Bytes of the blob that are wrong or not there; all of it where nothing says which.
  package let damage: [Range<Int64>]
  /// The digests of its chunks told which bytes are wrong.
  package let isExact: Bool
  /// Of the chunks as they were read.
  package let chunks: ChunkList?

  /// Whether every byte is right.
  package var isIntact: Bool { damage.isEmpty }

  /// Reads and hashes a file: its chunks on all cores where a list vouches for the whole, else from its start to its end.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - file: that has the blob.
  ///   - descriptor: what it should be.
  ///   - list: of an earlier verification; nil where there is none.
  ///   - progress: told the bytes that were read, by any thread.
  /// - Throws: `Errno` where the file cannot be read at all.
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
    // A list that calls a right blob wrong is wrong itself.
    let whole = try Self.inOrder(file, descriptor, list: nil) { _ in }
    self = whole.isIntact ? whole : BlobExamination(damage: damage, isExact: true, chunks: nil)
  }

  private init(damage: [Range<Int64>], isExact: Bool, chunks: ChunkList?) {
    self.damage = damage
    self.isExact = isExact
    self.chunks = chunks
  }

  /// The bytes of chunks that a list does not have, in order; cores work on them side by side.
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

  /// The bytes of a chunk as far as they can be read.
  private static func read(
    _ file: BlobFile,
    _ range: Range<Int64>,
    _ buffer: UnsafeMutableRawBufferPointer
  ) throws(Errno) -> UnsafeRawBufferPointer {
    let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count])
    do throws(Errno) {
      return UnsafeRawBufferPointer(rebasing: part[..<(try file.read(into: part, at: range.lowerBound))])
    } catch .ioError {
      // A sector that cannot be read, or a Merkle tree that says no: this chunk is damaged, others may be right.
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
    // A list that calls a right blob wrong is wrong itself.
    if isRight {
      let chunks = ChunkList(entries, blobSize: descriptor.size, chunkSize: chunkSize, kind: .states)
      return BlobExamination(damage: [], isExact: false, chunks: chunks)
    }
    let isExact = list != nil && !damage.isEmpty
    return BlobExamination(damage: isExact ? damage : [0..<descriptor.size], isExact: isExact, chunks: nil)
  }
}

extension LocalRegistry {
  /// Every file that has bytes of an artifact, and what is not here.
  ///
  /// Blocks. A layout's hard link is the pool's file; its copy is one of its own.
  ///
  /// - Parameter artifact: as it was found.
  /// - Returns: each blob's files, the pool's first.
  /// - Throws: `ContentError`; `corrupt` where a document is not what it says.
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

  /// Whether the pool has a blob that is known to be right.
  ///
  /// - Parameter descriptor: of the blob.
  package func hasVerified(_ descriptor: Descriptor) -> Bool {
    if case .file(_, isVerified: true) = try? pool.complete(descriptor) { true } else { false }
  }

  /// The references whose artifacts have a blob.
  ///
  /// - Parameter digest: of the blob.
  /// - Returns: those that are noted.
  package func holders(of digest: Digest) -> [Reference] { references.references(of: digest) }

  /// Replaces a layout's damaged copy by the pool's blob.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - file: the copy, in an oci-dir of the root.
  ///   - descriptor: of the blob.
  ///   - artifact: whose layout it is.
  /// - Returns: false where the pool has none that is right.
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

  /// Reads and hashes a file of an artifact, and notes what came out.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - file: that has the blob.
  ///   - descriptor: what it should be.
  ///   - progress: told the bytes that were read, by any thread.
  /// - Throws: `ContentError` where the file cannot be read.
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
      // Its next opening hashes it, sets it aside and fetches it.
      try? pool.noteDoubt(descriptor.digest)
    } else if !examination.isIntact {
      // A part of an archive or a file of a store: nothing of it is served until it is written to.
      try? pool.noteDamaged(file, descriptor.digest)
    }
    if examination.isIntact, file.isInPlace {
      // What cannot be noted is found out again.
      try? pool.noteVerified(file, descriptor.digest)
      if let chunks = examination.chunks { try? lists.write(chunks, of: descriptor.digest) }
    }
    return examination
  }

  /// Notes whose a blob is that lay in a layout alone, so that it gets its place there once it is mended.
  ///
  /// - Parameters:
  ///   - descriptor: of the blob.
  ///   - reference: of an artifact of the root.
  package func claim(_ descriptor: Descriptor, for reference: Reference) { want([descriptor], reference) }

  /// Makes a damaged blob one that lacks the damaged bytes, so that those alone are fetched again.
  ///
  /// Blocks. It is out of all layouts of the root until it is whole.
  ///
  /// - Parameters:
  ///   - file: that has the damaged blob: the pool's own, or a part of an archive.
  ///   - descriptor: of the blob.
  ///   - damage: bytes that are wrong.
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

  /// Moves a damaged file away that cannot be mended, so that nothing of it is served.
  ///
  /// Blocks.
  ///
  /// - Parameters:
  ///   - file: that has the damaged blob.
  ///   - digest: of the blob.
  /// - Returns: where it is now; nil where it is not the root's.
  /// - Throws: `ContentError`.
  package func setAside(_ file: BlobFile, _ digest: Digest) throws(ContentError) -> String? {
    // The other blobs of an archive may be right: it stays where it is, and the damaged one is refused.
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
