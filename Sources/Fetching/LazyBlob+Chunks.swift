import BlobCache
import Content
import LocalRegistry
import Locking
import Logging
import OCI
import SystemPackage
import Telemetry

/// Compares single chunks with a trusted list: every byte is verified before it is served (design 5).
extension LazyBlob {
  // The time for which a wrong chunk is refused, the same as for a wrong blob.
  private var refusal: Duration { store.policy.firstRefusal }

  /// Uses a list from now on, by the rules of `BlobState.adopt`.
  ///
  /// - Parameters:
  ///   - list: A trusted list of this blob; nil for none.
  ///   - named: The digest of the list in the manifest; nil if the manifest names none.
  ///   - isOwn: Whether the list is from an earlier verification.
  func adopt(_ list: ChunkList?, named: Digest?, isOwn: Bool) {
    handle(.listChanged(list, named: named, isOwn: isOwn))
  }

  /// Returns whether a list must still be looked up.
  func needsList(_ named: Digest?) -> Bool { state.withLock { $0.blob.needsList(named) } }

  func recheck(isListDropped: Bool) {
    // Bytes from an earlier process count after they were compared with the list.
    store.chunking.start { self.checkInBulk(from: 0) }
    guard isListDropped else { return }
    handle(.arrived)
    verify()
    fill()
  }

  /// Compares the present chunks of a range with the list, on threads of their own.
  func checkChunks(in range: Range<Int64>) {
    guard let found = state.withLock({ $0.blob.takeUnchecked(in: range) }) else { return }
    for chunk in found.chunks { store.chunking.start { self.check(chunk, found.list, found.blob.blob) } }
  }

  /// Compares all present chunks one by one, so that chunks that readers wait for are compared in between.
  func checkInBulk(from offset: Int64) {
    guard let list = state.withLock({ $0.blob.chunks?.list }) else { return }
    var position = offset
    while position < descriptor.size {
      let end = min(position + list.chunkSize, descriptor.size)
      if let found = state.withLock({ $0.blob.takeUnchecked(in: position..<end) }),
        let chunk = found.chunks.first
      {
        check(chunk, found.list, found.blob.blob)
        store.chunking.start { self.checkInBulk(from: end) }
        return
      }
      position = end
    }
  }

  private func check(_ chunk: Int, _ list: ChunkList, _ blob: PartialBlob) {
    let isRight: Bool
    do throws(Errno) {
      isRight = try matches(list, chunk, blob)
    } catch {
      let failure = ContentError(.disk, "\(blob.path)", "\(error)", underlying: error)
      return handle(.chunkUnreadable(chunk, failure))
    }
    noteProgress()
    guard isRight else { return drop(chunk, list, blob) }
    handle(.chunkMatched(chunk))
    verify()
  }

  private func matches(_ list: ChunkList, _ chunk: Int, _ blob: PartialBlob) throws(Errno) -> Bool {
    let range = list.range(of: chunk)
    let entry = ChunkRecord(kind: list.kind, bytes: Array(list.entry(of: chunk)))
    if list.chunkSize == BlockMap.chunkSize, try blob.record(ofChunk: chunk) == entry { return true }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 4096)
    defer { buffer.deallocate() }
    guard try blob.read(into: buffer, at: range.lowerBound) == range.count else { throw Errno.ioError }
    guard list.matches(UnsafeRawBufferPointer(buffer), chunk: chunk) else { return false }
    // Recorded so that it survives a reboot; a chunk that cannot be recorded is compared again then.
    if list.chunkSize == BlockMap.chunkSize {
      try? blob.record(entry, ofChunk: chunk)
      // A state is useful only with the state before it, which does not verify the bytes of that chunk.
      if list.kind == .states, chunk > 0, try blob.record(ofChunk: chunk - 1) == nil {
        let before = Array(list.entry(of: chunk - 1))
        try? blob.record(ChunkRecord(kind: .states, bytes: before, isVerified: false), ofChunk: chunk - 1)
      }
    }
    return true
  }

  /// Marks the blocks of a wrong chunk as absent.
  private func drop(_ chunk: Int, _ list: ChunkList, _ blob: PartialBlob) {
    let range = list.range(of: chunk)
    store.metrics.badChunks.add()
    // The blocks are removed from the map first: no reader may find them present again. They are kept if
    // another process has the blob open.
    let isDropped = (try? blob.drop(BlockMap.blocks(touching: range, size: descriptor.size))) != nil
    partial?.verifier.forget(BlockMap.chunks(touching: range))
    handle(.chunkDiffers(chunk, isDropped: isDropped, refusedUntil: .now + refusal))
  }

  private func range(of chunk: Int) -> Range<Int64>? {
    state.withLock { $0.blob.chunks?.list.range(of: chunk) }
  }

  private func warnWrong(_ chunk: Int, _ range: Range<Int64>?, next: String) {
    store.log.warning(
      "a chunk turned out wrong",
      metadata: [
        "file": "\(fileName(at: range?.lowerBound))", "blob": "\(descriptor.digest)", "chunk": "\(chunk)",
        "bytes": "\(range ?? 0..<0)", "registry": "\(origin ?? "-")", "next": "\(next)",
      ]
    )
  }

  func fetchAgain(_ chunk: Int) {
    guard let range = range(of: chunk) else { return }
    warnWrong(chunk, range, next: "it is fetched once more")
    start(FetchRequest(range, need: range, .demand, wantsNewConnection: true))
    // The chunk may have arrived by another request in the meantime.
    checkChunks(in: range)
  }

  func giveUp(_ chunk: Int, _ waiters: [Waiter], isDropped: Bool) {
    warnWrong(chunk, range(of: chunk), next: "reads of it fail for a while")
    let error =
      isDropped
      ? wrongChunk(chunk)
      : ContentError(
        .corrupt,
        "\(descriptor.digest)",
        host: origin,
        "chunk \(chunk) is wrong, and cannot be fetched again while another process has the blob open",
        advice: "Stop the other weightfs process that reads it, and read again"
      )
    for waiter in waiters { waiter.reply.fail(error) }
  }

  func wrongChunk(_ chunk: Int) -> ContentError {
    ContentError(
      .corrupt,
      subject(at: range(of: chunk)?.lowerBound ?? 0),
      host: origin,
      "chunk \(chunk) arrived twice with bytes that are not those of its digest",
      advice:
        "The registry or a proxy on the way to it sends wrong bytes; it is asked again after \(refusal)"
    )
  }
}
