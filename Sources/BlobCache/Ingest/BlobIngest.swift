package import Content
import Disk
package import Locking
import OCI
import SystemPackage

/// The only path on which the bytes of a request enter the cache: claim blocks, reserve space, accept bytes,
/// and finally release all that was not used.
///
/// Bytes are collected in pieces of 2 MiB, aligned in the blob, and each piece is written with one system
/// call: only then does the kernel keep them in large folios that it can map as huge pages. Until a piece is
/// written, readers are served from memory.
package final class BlobIngest: Sendable {
  /// Size of a piece that is written at once, in bytes: a huge page on most machines.
  package static let pieceSize: Int64 = 2 << 20
  // Bytes of a slow connection are written after this time even if they do not fill a piece, so that they
  // survive a
  // crash of the process.
  private static let longestStay: Duration = .seconds(1)
  // Up to this many written bytes may be counted twice, as reserved and as used.
  private static let settlingSize: Int64 = 4 << 20

  /// The result of accepting bytes.
  package struct Arrival: Sendable {
    /// Blocks that are on the disk now.
    package var kept: [Range<Int>] = []
    /// Whether a block became readable.
    package var isReadable = false
  }

  /// Blocks that this process may fetch.
  package struct Claim: Sendable {
    /// The missing runs among the claimed blocks, in order.
    package let missing: [Range<Int>]
    /// The end of the claimed range: the first block that another process has claimed.
    package let end: Int
  }

  private struct State {
    var staged: StagedBytes?
    /// Bytes reserved that have not arrived yet.
    var promised: Int64 = 0
    /// Bytes written that are not settled yet.
    var kept: Int64 = 0
  }

  private let blob: PartialBlob
  private let space: CacheSpace
  private let buffers: AppendBufferPool
  private let state = Mutex(State())

  /// Creates the ingest of one request.
  ///
  /// - Parameters:
  ///   - blob: The blob that the bytes belong to.
  ///   - space: Reserves the space.
  ///   - buffers: Buffers of `pieceSize` bytes; if none is free, bytes are written to the disk as they
  ///     arrive.
  package init(into blob: PartialBlob, space: CacheSpace, buffers: AppendBufferPool) {
    self.blob = blob
    self.space = space
    self.buffers = buffers
  }

  /// Claims blocks for this process.
  ///
  /// - Parameter blocks: Blocks that this process has not claimed yet.
  /// - Returns: nil if another process has claimed the first of the blocks.
  /// - Throws: `ContentError` if the disk fails.
  package func claim(_ blocks: Range<Int>) throws(ContentError) -> Claim? {
    do throws(Errno) {
      return try blob.claim(blocks).map { Claim(missing: $0.missing, end: $0.end) }
    } catch {
      throw ContentError(.disk, "\(blob.path)", error)
    }
  }

  /// Reserves space for a run of blocks, evicting blobs as needed.
  ///
  /// - Throws: `ContentError` with `isDiskFull` set if there is not enough space.
  package func reserve(_ run: Range<Int>) async throws(ContentError) {
    let count = bytes(of: run)
    guard !blob.isInMemory else { throw space.refusal(count) }
    // In most cases there is space and the ledger is not locked: no thread switch is needed.
    if try !space.reserveAtOnce(count) {
      let space = space
      try await space.executor.run { () throws(ContentError) in try space.reserve(count) }
    }
    state.withLock { $0.promised += count }
  }

  /// Reserves space for a run of blocks if it is available, without evicting.
  package func reserveNow(_ run: Range<Int>) -> Bool {
    let count = bytes(of: run)
    // Without space the run is served without being cached; a failure of the ledger counts as no space.
    guard !blob.isInMemory, (try? space.reserveNow(count)) ?? false else { return false }
    state.withLock { $0.promised += count }
    return true
  }

  private func bytes(of run: Range<Int>) -> Int64 {
    Int64(BlockMap.bytes(of: run, size: blob.descriptor.size).count)
  }

  /// Accepts bytes that arrived; calls must not overlap.
  ///
  /// - Parameters:
  ///   - bytes: Bytes of the blob; those outside of claimed blocks are ignored.
  ///   - offset: The offset of the first byte in the blob.
  /// - Throws: `ContentError` if the disk fails; with `isDiskFull` set if the disk is full.
  package func accept(
    _ bytes: UnsafeRawBufferPointer,
    at offset: Int64
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
    settleAtOnce()
    return arrival
  }

  /// Whether memory holds bytes that are not on the disk yet.
  package var hasStaged: Bool { state.withLock { $0.staged != nil } }

  /// Writes the bytes in memory to the disk.
  ///
  /// - Returns: The blocks that are on the disk now.
  /// - Throws: `ContentError` if the disk fails.
  package func flush() throws(ContentError) -> [Range<Int>] {
    var arrival = Arrival()
    try flush(&arrival)
    return arrival.kept
  }

  /// Returns the staged bytes that end at `position`, or nil if the next bytes go directly to the disk.
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
    // The map shows the bytes on the disk before they are removed from memory.
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

  /// Settles written bytes once there are 4 MiB of them, unless another process holds the lock of the ledger.
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

  /// Settles all reservations so far; may block, so the caller uses a thread that is allowed to.
  package func settle() {
    let (promised, kept) = state.withLock { state in
      defer { (state.promised, state.kept) = (0, 0) }
      return (state.promised, state.kept)
    }
    guard promised > 0 || kept > 0 else { return }
    let space = space
    space.executor.start { space.settle(promised: promised, kept: kept) }
  }

  /// Releases the claims on blocks that did not arrive.
  ///
  /// - Parameter runs: Runs claimed before.
  package func release(_ runs: [Range<Int>]) {
    for run in runs { blob.release(run) }
  }
}
