package import Content
import Disk
package import Locking
import OCI
import SystemPackage

/// The one door through which the bytes of a request enter the cache: blocks are claimed, room is promised, bytes are
/// taken, and in the end all that was not used is given back.
///
/// Bytes are collected in pieces of 2 MiB that are aligned in the blob, and go to the disk in one write each: only then
/// does the kernel keep them in pages that it maps as huge ones. Whoever reads the blob meanwhile gets them from memory.
package final class BlobIngest: Sendable {
  /// Of a piece that is written at once, bytes: a huge page of most machines.
  package static let pieceSize: Int64 = 2 << 20
  // A slow connection fills no piece for long: its bytes are kept all the same, in case the process dies.
  private static let longestStay: Duration = .seconds(1)
  // Promised and written bytes count twice up to this.
  private static let settlingSize: Int64 = 4 << 20

  /// What became of bytes that were taken.
  package struct Arrival: Sendable {
    /// Blocks that are on the disk now.
    package var kept: [Range<Int>] = []
    /// Whether a block can be read that could not be read before.
    package var isReadable = false
  }

  /// Blocks that may be fetched.
  package struct Claim: Sendable {
    /// What is missing of them, in order.
    package let missing: [Range<Int>]
    /// The first block that another process has a claim on.
    package let end: Int
  }

  private struct State {
    var staged: StagedBytes?
    /// Bytes that there is room for and that did not come yet.
    var promised: Int64 = 0
    /// Bytes that came and were not settled yet.
    var kept: Int64 = 0
  }

  private let blob: PartialBlob
  private let space: CacheSpace
  private let buffers: AppendBufferPool
  private let state = Mutex(State())

  /// Opens the door for one request.
  ///
  /// - Parameters:
  ///   - blob: that the bytes belong to.
  ///   - space: where room is promised.
  ///   - buffers: of `pieceSize` bytes; where they are used up, bytes go to the disk as they come.
  package init(into blob: PartialBlob, space: CacheSpace, buffers: AppendBufferPool) {
    self.blob = blob
    self.space = space
    self.buffers = buffers
  }

  /// Claims blocks for this process.
  ///
  /// - Parameter blocks: not claimed by this process yet.
  /// - Returns: nil where another process has a claim on the first of them.
  /// - Throws: `ContentError` where the disk fails.
  package func claim(_ blocks: Range<Int>) throws(ContentError) -> Claim? {
    do throws(Errno) {
      return try blob.claim(blocks).map { Claim(missing: $0.missing, end: $0.end) }
    } catch {
      throw ContentError(.disk, "\(blob.path)", error)
    }
  }

  /// Makes room for a run, evicting what it takes.
  ///
  /// - Parameter run: of blocks.
  /// - Throws: `ContentError` that is `isDiskFull` where there is none.
  package func reserve(_ run: Range<Int>) async throws(ContentError) {
    let count = bytes(of: run)
    guard !blob.isInMemory else { throw space.refusal(count) }
    // Most often there is room and nobody else at the ledger: no other thread is needed for that.
    if try !space.reserveAtOnce(count) {
      let space = space
      try await space.executor.run { () throws(ContentError) in try space.reserve(count) }
    }
    state.withLock { $0.promised += count }
  }

  /// Makes room for a run if there is some, evicting nothing.
  ///
  /// - Parameter run: of blocks.
  package func reserveNow(_ run: Range<Int>) -> Bool {
    let count = bytes(of: run)
    // Without room the run passes by; a ledger that fails has none.
    guard !blob.isInMemory, (try? space.reserveNow(count)) ?? false else { return false }
    state.withLock { $0.promised += count }
    return true
  }

  private func bytes(of run: Range<Int>) -> Int64 {
    Int64(BlockMap.bytes(of: run, size: blob.descriptor.size).count)
  }

  /// Takes bytes that came; one thread at a time.
  ///
  /// - Parameters:
  ///   - bytes: of the blob, as far as they lie in claimed blocks.
  ///   - offset: of the first in the blob.
  ///   - isLast: whether no more are to come: nothing stays in memory.
  /// - Throws: `ContentError` where the disk fails; `isDiskFull` where it is full.
  package func accept(
    _ bytes: UnsafeRawBufferPointer,
    at offset: Int64,
    isLast: Bool
  ) throws(ContentError) -> Arrival {
    var arrival = Arrival()
    let end = min(offset + Int64(bytes.count), blob.descriptor.size)
    var position = offset
    while position < end {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[Int(position - offset)..<Int(end - offset)])
      guard let staged = try stage(at: position, &arrival) else {
        keep(try write(rest, at: position), &arrival)
        break
      }
      let count = min(Int64(rest.count), staged.limit - position)
      staged.append(UnsafeRawBufferPointer(rebasing: rest[..<Int(count)]))
      position += count
      let block = BlockMap.blockSize
      if position / block != (position - count) / block || position == blob.descriptor.size {
        arrival.isReadable = true
      }
      let isOld = arrival.isReadable && ContinuousClock.now - staged.begun > Self.longestStay
      if position == staged.limit || isOld { try flush(&arrival) }
    }
    if isLast { try flush(&arrival) }
    settleAtOnce()
    return arrival
  }

  /// Whether bytes are in memory that are not on the disk.
  package var hasStaged: Bool { state.withLock { $0.staged != nil } }

  /// Writes what is in memory.
  ///
  /// - Returns: the blocks that are on the disk now.
  /// - Throws: `ContentError` where the disk fails.
  package func flush() throws(ContentError) -> [Range<Int>] {
    var arrival = Arrival()
    try flush(&arrival)
    return arrival.kept
  }

  /// The bytes in memory that the next ones follow; nil where they are to go to the disk at once.
  private func stage(at position: Int64, _ arrival: inout Arrival) throws(ContentError) -> StagedBytes? {
    if let staged = state.withLock({ $0.staged }) {
      if staged.end == position { return staged }
      try flush(&arrival)
    }
    guard let buffer = buffers.take() else { return nil }
    let limit = min((position / Self.pieceSize + 1) * Self.pieceSize, blob.descriptor.size)
    let staged = StagedBytes(buffer, from: position, to: limit)
    state.withLock { $0.staged = staged }
    blob.stage(staged)
    return staged
  }

  private func flush(_ arrival: inout Arrival) throws(ContentError) {
    guard let staged = state.withLock({ $0.staged.take() }) else { return }
    // Readers find the bytes on the disk before they are gone from memory.
    defer { blob.unstage(staged) }
    let kept = try staged.withBytes(staged.start..<staged.end) { bytes throws(ContentError) in
      try write(bytes, at: staged.start)
    }
    keep(kept, &arrival)
  }

  private func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(ContentError) -> [Range<Int>] {
    do throws(Errno) {
      return try blob.write(bytes, at: offset)
    } catch {
      throw ContentError(.disk, "\(blob.path)", error)
    }
  }

  private func keep(_ runs: [Range<Int>], _ arrival: inout Arrival) {
    arrival.kept += runs
    if !runs.isEmpty { arrival.isReadable = true }
    let count = runs.reduce(0) { $0 + bytes(of: $1) }
    state.withLock { $0.kept += count }
  }

  /// Notes written bytes at the ledger once there are many, if nobody else is there.
  private func settleAtOnce() {
    let count = state.withLock { state in
      let count = min(state.kept, state.promised)
      guard count >= Self.settlingSize else { return Int64(0) }
      state.kept -= count
      state.promised -= count
      return count
    }
    guard count > 0, !space.settleAtOnce(count) else { return }
    state.withLock { state in
      state.kept += count
      state.promised += count
    }
  }

  /// Notes at the ledger what became of every promise so far; on a thread of its own.
  package func settle() {
    let (promised, kept) = state.withLock { state in
      defer { (state.promised, state.kept) = (0, 0) }
      return (state.promised, state.kept)
    }
    guard promised > 0 || kept > 0 else { return }
    let space = space
    space.executor.start { space.settle(promised: promised, kept: kept) }
  }

  /// Gives claims back, those of blocks that did not come.
  ///
  /// - Parameter runs: claimed before.
  package func release(_ runs: [Range<Int>]) {
    for run in runs { blob.release(run) }
  }
}
