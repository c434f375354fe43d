import BlobCache
import Content
import Hashing
import LocalRegistry
import OCI
import Locking
import SystemPackage

/// Hashes a partial blob as its bytes arrive: the digest of the blob over its contiguous front.
///
/// The hash states between chunks form the chunk list.
///
/// Chunks after a gap get digests of their own, so that they survive a reboot; these are omitted while bytes
/// arrive fast.
final class BlobVerifier: Sendable {
  private struct State: ~Copyable {
    /// The hash stream of the front; nil while a run uses it.
    var whole: HashStream?
    /// The first chunk after the front.
    var front = 0
    /// The concatenated list entries of the chunks of the front.
    var entries: [UInt8] = []
    /// The chunks after a gap whose digest must be recorded.
    var owed: Set<Int> = []
    /// The digest of the blob; nil until all bytes are hashed.
    var digest: Digest?
    var isRunning = false
    /// Whether chunks arrived during the current run.
    var isAsked = false
    /// Whether hashed bytes were discarded since: the front must be hashed again.
    var mustRestart = false
  }

  /// The result of a run.
  enum Outcome {
    /// Bytes are still missing.
    case incomplete
    /// The run used up its turn; other blobs are hashed before it continues.
    case more
    case finished(Digest)
    case failed(ContentError)
  }

  private let blob: PartialBlob
  private let size: Int64
  private let chunkCount: Int
  private let state: Mutex<State>

  // The number of chunks whose writeback is started together.
  private static let writebackChunks = 16
  // The number of chunks that are hashed in one turn.
  private static let turn = 64
  // The size of a read in bytes; it stays in a core's cache between the copy and the hash.
  private static let piece = 256 << 10

  init(blob: PartialBlob) {
    self.blob = blob
    size = blob.descriptor.size
    chunkCount = BlockMap.chunkCount(size: size)
    state = Mutex(State(whole: HashStream(blob.descriptor.digest.algorithm)))
  }

  /// Returns whether the caller must start a run; only one runs at a time.
  ///
  /// - Parameter chunks: The chunks that became complete.
  func request(_ chunks: [Int]) -> Bool {
    state.withLock { state in
      for chunk in chunks where chunk >= state.front { state.owed.insert(chunk) }
      if state.isRunning {
        state.isAsked = true
        return false
      }
      state.isRunning = true
      return true
    }
  }

  /// The hash states between all chunks; nil before the blob is hashed, and for algorithms without states.
  var chunkList: ChunkList? {
    let entries = state.withLock { $0.digest == nil ? [] : $0.entries }
    return ChunkList(entries, blobSize: size, chunkSize: BlockMap.chunkSize, kind: .states)
  }

  /// Hashes all present chunks.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - mayHash: Returns whether the bytes of a present chunk count.
  ///   - isHurried: Returns whether bytes arrive so fast that digests of chunks after a gap are omitted.
  ///   - progress: Called after each chunk.
  func run(_ mayHash: (Int) -> Bool, isHurried: () -> Bool, _ progress: () -> Void) -> Outcome {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(BlockMap.chunkSize), alignment: 4096)
    defer { buffer.deallocate() }
    while true {
      do throws(Errno) {
        var budget = Self.turn
        if let digest = try hashFront(buffer, mayHash, progress, &budget) {
          state.withLock { $0.isRunning = false }
          return .finished(digest)
        }
        if budget == 0 { return .more }
        if !isHurried() { try recordOwed(buffer, mayHash, progress) }
      } catch {
        // An error invalidates the hash state: the next run starts at the first chunk.
        put(HashStream(blob.descriptor.digest.algorithm), at: 0)
        state.withLock { $0.isRunning = false }
        return .failed(ContentError(.disk, "\(blob.path)", "\(error)"))
      }
      let isAsked = state.withLock { state in
        if !state.isAsked { state.isRunning = false }
        defer { state.isAsked = false }
        return state.isAsked
      }
      if !isAsked { return .incomplete }
    }
  }

  private func hashFront(
    _ buffer: UnsafeMutableRawBufferPointer,
    _ mayHash: (Int) -> Bool,
    _ progress: () -> Void,
    _ budget: inout Int
  ) throws(Errno) -> Digest? {
    if let digest = state.withLock({ $0.digest }) { return digest }
    guard var whole = state.withLock({ $0.whole.take() }) else { return nil }
    var chunk = state.withLock { state in
      if state.mustRestart {
        state.front = 0
        state.entries = []
        whole.reset()
      }
      state.mustRestart = false
      return state.front
    }
    while budget > 0, chunk < chunkCount, blob.contains(chunk: chunk), mayHash(chunk) {
      try hash(chunk, buffer, into: &whole)
      if chunk + 1 < chunkCount, let behind = whole.state { note(behind.bytes, of: chunk) }
      chunk += 1
      budget -= 1
      if chunk.isMultiple(of: Self.writebackChunks) {
        let last = BlockMap.bytes(ofChunk: chunk - 1, size: size)
        blob.startWriteback(
          last.upperBound - Int64(Self.writebackChunks) * BlockMap.chunkSize..<last.upperBound
        )
      }
      progress()
    }
    let digest = chunk == chunkCount ? whole.finish() : nil
    if let digest, digest.algorithm == .sha256 { note(digest.bytes, of: chunkCount - 1) }
    if chunk == chunkCount { budget = max(budget, 1) }
    put(whole, at: chunk)
    return state.withLock { state in
      guard let digest, !state.mustRestart else {
        if state.mustRestart { state.isAsked = true }
        return nil
      }
      state.digest = digest
      return digest
    }
  }

  /// Adds a chunk to the digest of the blob.
  private func hash(
    _ chunk: Int,
    _ buffer: UnsafeMutableRawBufferPointer,
    into whole: inout HashStream
  ) throws(Errno) {
    let range = BlockMap.bytes(ofChunk: chunk, size: size)
    var position = range.lowerBound
    while position < range.upperBound {
      let count = min(Self.piece, Int(range.upperBound - position))
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
      guard try blob.read(into: part, at: position) == count else { throw Errno.ioError }
      whole.update(UnsafeRawBufferPointer(part))
      position += Int64(count)
    }
  }

  /// Appends the list entry of a chunk of the front and records it.
  ///
  /// If it cannot be recorded, the chunk is lost at the next reboot, but not before.
  private func note(_ entry: [UInt8], of chunk: Int) {
    state.withLock { $0.entries += entry }
    try? blob.record(ChunkRecord(kind: .states, bytes: entry), ofChunk: chunk)
  }

  private func put(_ whole: consuming HashStream, at chunk: Int) {
    var whole = Optional(whole)
    state.withLock { state in
      state.whole = whole.take()
      state.front = chunk
      // The front starts again, and so do its entries.
      if chunk == 0 { state.entries = [] }
    }
  }

  /// Records the digests of chunks after a gap.
  private func recordOwed(
    _ buffer: UnsafeMutableRawBufferPointer,
    _ mayHash: (Int) -> Bool,
    _ progress: () -> Void
  ) throws(Errno) {
    let chunks = state.withLock { state in
      defer { state.owed = [] }
      return state.owed.filter { $0 >= state.front }.sorted()
    }
    for (index, chunk) in chunks.enumerated() where blob.contains(chunk: chunk) && mayHash(chunk) {
      // The front takes precedence.
      let front = state.withLock { $0.isAsked ? $0.front : chunkCount }
      if front < chunkCount, blob.contains(chunk: front) {
        state.withLock { $0.owed.formUnion(chunks[index...]) }
        return
      }
      if try blob.record(ofChunk: chunk) == nil { try recordDigest(of: chunk, buffer) }
      progress()
    }
  }

  private func recordDigest(of chunk: Int, _ buffer: UnsafeMutableRawBufferPointer) throws(Errno) {
    let range = BlockMap.bytes(ofChunk: chunk, size: size)
    let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count])
    guard try blob.read(into: part, at: range.lowerBound) == range.count else { throw Errno.ioError }
    let digest = HashStream.digest(of: UnsafeRawBufferPointer(part))
    // If the digest cannot be recorded, the chunk is lost at the next reboot, but not before.
    try? blob.record(ChunkRecord(kind: .digests, bytes: digest.bytes), ofChunk: chunk)
  }

  /// Forgets chunks whose bytes were dropped.
  func forget(_ chunks: Range<Int>) {
    state.withLock { state in
      state.owed.subtract(chunks)
      if chunks.lowerBound < state.front || state.whole == nil { state.mustRestart = true }
    }
  }
}
