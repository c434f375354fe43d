import CLinux
import Glibc
import Hashing
package import OCI
import Locking
package import SystemPackage
package import Disk

/// A blob that is on its way: a sparse file, and a map of the blocks that are there.
///
/// Several processes may hold the same one. Who wants to fetch blocks claims them with a lock on their bytes of the
/// map file, looks at the map again, and writes only what was claimed; so no block is fetched twice, and a block that
/// is there is never written again. A process that dies loses its claims.
package final class PartialBlob: Sendable {
  package let descriptor: Descriptor
  /// Of the sparse file; open as long as this object lives.
  package let file: FileDescriptor
  /// Of the sparse file.
  package let path: FilePath
  /// The disk had no room for its files: they are in memory, and no byte of the blob is kept.
  package let isInMemory: Bool
  private let map: PartialMapFile
  let state: Mutex<State>

  struct State {
    var blocks: BlockMap
    /// Blocks that this process may write.
    var claimed = RangeSet<Int>()
    /// Bytes at the end of what came, that do not fill a block yet: from where to where, by the block they are in.
    var tails: [Int: Range<Int64>] = [:]
    /// Bytes that came and are on their way to the disk.
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

  /// The byte of the map that each process with the blob open holds a shared lock on.
  static let presence = 0..<1

  deinit {
    try? file.close()
    try? map.descriptor.close()
  }

  /// The file as a whole blob, for a blob that is complete and verified but has no name under its digest.
  ///
  /// - Returns: with a descriptor of its own.
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

  /// Whether every byte of a range is there, without asking the disk.
  ///
  /// - Parameter range: bytes.
  package func contains(_ range: Range<Int64>) -> Bool { state.withLock { $0.blocks.contains(range) } }

  /// Runs of blocks that are not there, as this process knows.
  ///
  /// - Parameter blocks: where to look.
  package func missing(in blocks: Range<Int>) -> [Range<Int>] {
    state.withLock { $0.blocks.missing(in: blocks) }
  }

  /// The first block at or behind another that is not there, and up to where none is.
  ///
  /// - Parameters:
  ///   - block: where to begin.
  ///   - limit: of the run, blocks.
  /// - Returns: nil where there is none.
  package func nextMissing(from block: Int, limit: Int) -> Range<Int>? {
    state.withLock { state in
      guard let first = state.blocks.firstMissing(from: block) else { return nil }
      return first..<state.blocks.firstPresent(from: first, before: first + limit)
    }
  }

  /// Takes blocks out whose bytes turned out wrong, so that they are fetched again.
  ///
  /// - Parameter blocks: that are there.
  /// - Throws: `Errno`; `resourceBusy` where another process has the blob open, which may have hashed them already, or
  ///   where it has other names than its own.
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

  /// Starts writing bytes to the disk, so that less is left when the blob is complete.
  ///
  /// - Parameter range: that was written.
  package func startWriteback(_ range: Range<Int64>) {
    // A hint; what fails now fails again in fdatasync, where it is looked at.
    Disk.startWriteback(file, range)
  }

  /// Whether every byte is there.
  package var isComplete: Bool { state.withLock { $0.blocks.isComplete } }

  /// Whether every byte of a chunk is there.
  ///
  /// - Parameter chunk: its number.
  package func contains(chunk: Int) -> Bool { state.withLock { $0.blocks.contains(chunk: chunk) } }

  /// Bytes that are there.
  package var presentBytes: Int64 { state.withLock { $0.blocks.presentBytes } }

  /// Claims blocks for this process, then looks which of them others brought since.
  ///
  /// - Parameter blocks: not claimed by this process yet.
  /// - Returns: the runs to fetch, empty where all are there, and up to where they were claimed; nil where another
  ///   process has a claim on the first.
  /// - Throws: `Errno`.
  package func claim(_ blocks: Range<Int>) throws(Errno) -> (missing: [Range<Int>], end: Int)? {
    var blocks = blocks
    if try !RangeLock.tryLock(map.descriptor, lockRange(blocks)) {
      try refresh(blocks)
      // What lies before the first claim of another process can be had now.
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
    // What came in the meantime needs no claim.
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

  /// Gives claims back, those of blocks that did not come.
  ///
  /// - Parameter blocks: claimed before.
  package func release(_ blocks: Range<Int>) {
    state.withLock { state in
      state.claimed.remove(contentsOf: blocks)
      state.tails = state.tails.filter { !blocks.contains($0.key) }
    }
    RangeLock.unlock(map.descriptor, lockRange(blocks))
  }

  /// Looks at the disk for blocks that other processes brought.
  ///
  /// - Parameter blocks: where to look.
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

  /// Writes bytes that came, as far as they lie in claimed blocks.
  ///
  /// - Parameters:
  ///   - bytes: in order within a fetch.
  ///   - offset: of the first in the blob.
  /// - Returns: the blocks that are whole now.
  /// - Throws: `Errno`; `noSpace` where the disk is full.
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
      // Data before the map: a block that the map shows is always there for a reader of this boot.
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

  /// The blocks of a run that a part fills, with what came of them before.
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

  /// Notes who the bytes come from.
  ///
  /// - Parameter origin: of the source that is about to be asked.
  /// - Returns: false where bytes of another one are here already: a range of them is worth nothing until the whole
  ///   was verified, as anybody can claim to have a digest.
  package func noteOrigin(_ origin: String) -> Bool {
    let name = Array(HashStream.digest(of: Array(origin.utf8)).bytes.prefix(16))
    guard let known = try? map.origin() else { return false }
    if known == name { return true }
    // Bytes on their way count: they may be answered before they are on the disk.
    let isEmpty = state.withLock { $0.blocks.presentBytes == 0 && $0.claimed.isEmpty && $0.staged.isEmpty }
    guard isEmpty else { return false }
    return (try? map.write(origin: name)) != nil
  }

  /// What is recorded of a chunk.
  ///
  /// - Parameter chunk: its number.
  /// - Throws: `Errno`.
  package func record(ofChunk chunk: Int) throws(Errno) -> ChunkRecord? { try map.record(ofChunk: chunk) }

  /// Records what a chunk is verified against, so that it counts after a reboot.
  ///
  /// - Parameters:
  ///   - record: of the chunk.
  ///   - chunk: its number.
  /// - Throws: `Errno`.
  package func record(_ record: ChunkRecord, ofChunk chunk: Int) throws(Errno) {
    try map.write(record, ofChunk: chunk)
  }
}
