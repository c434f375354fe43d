import CLinux
import Glibc
import Hashing
package import OCI
import Locking
package import SystemPackage
package import Disk

/// A blob that is not complete: a sparse file, and a map of the blocks that are present.
///
/// Several processes may have the same partial blob open. Before a process fetches blocks, it claims them
/// with locks on their bytes of the map file, reads the map again, and then writes only blocks that it
/// claimed. So no block is fetched twice, and a present block is never overwritten. The kernel releases the
/// claims of a process that dies.
package final class PartialBlob: Sendable {
  package let descriptor: Descriptor
  /// The sparse file; open for the lifetime of this object.
  package let file: FileDescriptor
  /// The path of the sparse file.
  package let path: FilePath
  /// Whether the files are in memory because the disk had no space for them; no byte of the blob is cached.
  package let isInMemory: Bool
  private let map: PartialMapFile
  let state: Mutex<State>

  struct State {
    var blocks: BlockMap
    /// Blocks that this process may write.
    var claimed = RangeSet<Int>()
    /// The bytes that arrived for a block that is not full yet, by block number.
    var tails: [Int: Range<Int64>] = [:]
    /// Bytes that arrived and are not written to the disk yet.
    var staged: [StagedBytes] = []
  }

  init(
    descriptor: Descriptor,
    file: FileDescriptor,
    map: PartialMapFile,
    blocks: BlockMap,
    path: FilePath,
    isInMemory: Bool = false
  ) {
    self.isInMemory = isInMemory
    self.descriptor = descriptor
    self.file = file
    self.map = map
    self.path = path
    state = Mutex(State(blocks: blocks))
  }

  /// The byte of the map file on which each process that has the blob open holds a shared lock.
  static let presence = 0..<1

  deinit {
    Disk.close(file)
    Disk.close(map.descriptor)
  }

  /// Returns the file as a complete blob, for a blob that is verified but could not be linked under its
  /// digest.
  ///
  /// The result has its own descriptor.
  ///
  /// - Throws: `Errno`.
  package func asBlobFile() throws(Errno) -> BlobFile {
    let own: FileDescriptor
    do {
      own = try file.duplicate()
    } catch {
      throw Errno.tooManyOpenFiles
    }
    return BlobFile(
      descriptor: own,
      offset: 0,
      size: descriptor.size,
      path: path,
      identity: try FileIdentity(of: own)
    )
  }

  /// The map as this process knows it.
  package var blocks: BlockMap { state.withLock { $0.blocks } }

  /// Whether every byte of a range is present in the map of this process; does not access the disk.
  package func contains(_ range: Range<Int64>) -> Bool { state.withLock { $0.blocks.contains(range) } }

  /// Returns the runs of blocks that are missing in the map of this process.
  package func missing(in blocks: Range<Int>) -> [Range<Int>] {
    state.withLock { $0.blocks.missing(in: blocks) }
  }

  /// Returns the first run of missing blocks at or after `block`, at most `limit` blocks long; nil if all are
  /// present.
  package func nextMissing(from block: Int, limit: Int) -> Range<Int>? {
    state.withLock { state in
      guard let first = state.blocks.firstMissing(from: block) else { return nil }
      return first..<state.blocks.firstPresent(from: first, before: first + limit)
    }
  }

  /// Removes blocks whose bytes are wrong from the map, so that they are fetched again.
  ///
  /// - Parameter blocks: Present blocks.
  /// - Throws: `Errno`; `resourceBusy` if another process has the blob open, which may have hashed the blocks
  ///   already, or if the file has other hard links.
  package func drop(_ blocks: Range<Int>) throws(Errno) {
    guard try RangeLock.tryLock(map.descriptor, Self.presence) else { throw .resourceBusy }
    defer { try? RangeLock.share(map.descriptor, Self.presence) }
    guard try FileIdentity.linkCount(of: file) <= 1 else { throw .resourceBusy }
    try map.write(states: [UInt8](repeating: 0, count: blocks.count), from: blocks.lowerBound)
    state.withLock { $0.blocks.remove(blocks) }
    for chunk in BlockMap.chunks(touching: BlockMap.bytes(of: blocks, size: descriptor.size)) {
      try map.write(nil, ofChunk: chunk)
    }
  }

  /// Starts writeback of a written range, so that less remains to be written when the blob is complete.
  package func startWriteback(_ range: Range<Int64>) {
    // Only a hint: an error here shows up again in fdatasync, where it is handled.
    Disk.startWriteback(file, range)
  }

  /// Whether every byte is present.
  package var isComplete: Bool { state.withLock { $0.blocks.isComplete } }

  /// Whether every byte of a chunk is present.
  package func contains(chunk: Int) -> Bool { state.withLock { $0.blocks.contains(chunk: chunk) } }

  /// Number of bytes that are present.
  package var presentBytes: Int64 { state.withLock { $0.blocks.presentBytes } }

  /// Claims blocks for this process, then reads from the map which of them other processes have added.
  ///
  /// - Parameter blocks: Blocks that this process has not claimed yet.
  /// - Returns: The runs to fetch, empty if all are present, and the end of the claimed range; nil if another
  ///   process has claimed the first block.
  /// - Throws: `Errno`.
  package func claim(_ blocks: Range<Int>) throws(Errno) -> (missing: [Range<Int>], end: Int)? {
    var blocks = blocks
    if try !RangeLock.tryLock(map.descriptor, lockRange(blocks)) {
      try refresh(blocks)
      // The blocks before the first claim of another process can be claimed now.
      guard let conflict = try RangeLock.firstConflict(map.descriptor, lockRange(blocks)),
        case let end = conflict - PartialMapFile.headerSize, end > blocks.lowerBound, end < blocks.upperBound,
        try RangeLock.tryLock(map.descriptor, lockRange(blocks.lowerBound..<end))
      else { return nil }
      blocks = blocks.lowerBound..<end
    }
    try refresh(blocks)
    let missing = state.withLock { state in
      let missing = state.blocks.missing(in: blocks)
      for run in missing { state.claimed.insert(contentsOf: run) }
      return missing
    }
    // Blocks that arrived in the meantime need no claim.
    var position = blocks.lowerBound
    for run in missing {
      if position < run.lowerBound { RangeLock.unlock(map.descriptor, lockRange(position..<run.lowerBound)) }
      position = run.upperBound
    }
    if position < blocks.upperBound {
      RangeLock.unlock(map.descriptor, lockRange(position..<blocks.upperBound))
    }
    return (missing, blocks.upperBound)
  }

  /// Releases the claims on blocks that did not arrive.
  ///
  /// - Parameter blocks: Blocks claimed before.
  package func release(_ blocks: Range<Int>) {
    state.withLock { state in
      state.claimed.remove(contentsOf: blocks)
      state.tails = state.tails.filter { !blocks.contains($0.key) }
    }
    RangeLock.unlock(map.descriptor, lockRange(blocks))
  }

  /// Reads from the map file which blocks other processes have added.
  ///
  /// - Throws: `Errno`.
  package func refresh(_ blocks: Range<Int>) throws(Errno) {
    guard !blocks.isEmpty else { return }
    let runs = try map.presentRuns(in: blocks)
    state.withLock { state in
      for run in runs { state.blocks.insert(run) }
    }
  }

  private func lockRange(_ blocks: Range<Int>) -> Range<Int> {
    blocks.lowerBound + PartialMapFile.headerSize..<blocks.upperBound + PartialMapFile.headerSize
  }

  /// Writes bytes that arrived, if they lie in claimed blocks.
  ///
  /// - Parameters:
  ///   - bytes: Bytes of one fetch, in ascending order.
  ///   - offset: The offset of the first byte in the blob.
  /// - Returns: The blocks that became complete.
  /// - Throws: `Errno`; `noSpace` if the disk is full.
  package func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(Errno) -> [Range<Int>] {
    let end = min(offset + Int64(bytes.count), descriptor.size)
    guard offset >= 0, offset < end else { return [] }
    let size = descriptor.size
    let runs: [Range<Int>] = state.withLock { state in
      var runs: [Range<Int>] = []
      for block in BlockMap.blocks(touching: offset..<end, size: size)
      where state.claimed.contains(block) && !state.blocks.contains(block: block) {
        if let last = runs.last, last.upperBound == block {
          runs[runs.count - 1] = last.lowerBound..<block + 1
        } else {
          runs.append(block..<block + 1)
        }
      }
      return runs
    }
    var finished: [Range<Int>] = []
    for run in runs {
      let whole = BlockMap.bytes(of: run, size: size)
      let part = max(whole.lowerBound, offset)..<min(whole.upperBound, end)
      let slice = bytes[Int(part.lowerBound - offset)..<Int(part.upperBound - offset)]
      // Data before the map: a reader of this boot always finds the data of a block that the map shows.
      try Disk.write(file, UnsafeRawBufferPointer(rebasing: slice), at: part.lowerBound)
      let complete = state.withLock { state in Self.complete(part, run, &state) }
      guard !complete.isEmpty else { continue }
      try map.write(states: [UInt8](repeating: 1, count: complete.count), from: complete.lowerBound)
      state.withLock { state in
        state.blocks.insert(complete)
        state.claimed.remove(contentsOf: complete)
        for block in complete { state.tails[block] = nil }
      }
      RangeLock.unlock(map.descriptor, lockRange(complete))
      finished.append(complete)
    }
    return finished
  }

  /// Returns the blocks of a run that are complete with a new part and the bytes that arrived before it.
  private static func complete(_ part: Range<Int64>, _ run: Range<Int>, _ state: inout State) -> Range<Int> {
    var first: Int?
    var end = run.lowerBound
    for block in run {
      let whole = state.blocks.bytes(of: block..<block + 1)
      var covered = max(whole.lowerBound, part.lowerBound)..<min(whole.upperBound, part.upperBound)
      if let before = state.tails[block], before.lowerBound <= covered.upperBound,
        covered.lowerBound <= before.upperBound
      {
        covered = min(before.lowerBound, covered.lowerBound)..<max(before.upperBound, covered.upperBound)
      }
      if covered == whole {
        if first == nil { first = block }
        end = block + 1
      } else {
        state.tails[block] = covered
      }
    }
    guard let first else { return run.lowerBound..<run.lowerBound }
    return first..<end
  }

  /// Records the origin of the bytes.
  ///
  /// - Parameter origin: The source about to be asked.
  /// - Returns: False if bytes of another origin are present. Until the complete blob is verified, ranges of
  ///   different sources must not be mixed, as any source can claim to have a digest.
  package func noteOrigin(_ origin: String) -> Bool {
    let name = Array(HashStream.digest(of: Array(origin.utf8)).bytes.prefix(16))
    guard let known = try? map.origin() else { return false }
    if known == name { return true }
    // Staged bytes count: they may be served before they are on the disk.
    let isEmpty = state.withLock { $0.blocks.presentBytes == 0 && $0.claimed.isEmpty && $0.staged.isEmpty }
    guard isEmpty else { return false }
    return (try? map.write(origin: name)) != nil
  }

  /// Returns the record of a chunk.
  ///
  /// - Throws: `Errno`.
  package func record(ofChunk chunk: Int) throws(Errno) -> ChunkRecord? { try map.record(ofChunk: chunk) }

  /// Records the digest or state that a chunk was verified against, so that the chunk is kept after a reboot.
  ///
  /// - Throws: `Errno`.
  package func record(_ record: ChunkRecord, ofChunk chunk: Int) throws(Errno) {
    try map.write(record, ofChunk: chunk)
  }
}
