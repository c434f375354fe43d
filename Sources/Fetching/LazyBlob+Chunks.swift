import Content
import LocalRegistry
import Logging
import OCI
import Synchronization
import SystemPackage
import Telemetry

/// Verification of single chunks against a trusted list: every byte is verified before it is served (design 5).
extension LazyBlob {
  // As long as a blob that turned out wrong.
  private var refusal: Duration { store.policy.firstRefusal }

  /// Uses a list from now on, unless one is used already.
  ///
  /// - Parameter list: trusted, of this blob.
  func adopt(_ list: ChunkList) {
    state.withLock { state in
      if state.chunks == nil, case .partial = state.phase { state.chunks = TrustedChunks(list) }
    }
  }

  /// Whether the bytes of a range may be served.
  func isReady(_ range: Range<Int64>, _ blob: PartialBlob, _ state: borrowing State) -> Bool {
    if let chunks = state.chunks { return chunks.covers(range) }
    return blob.contains(range)
  }

  /// Whole chunks around a range where a list is used, else the range.
  func aligned(_ range: Range<Int64>, _ state: borrowing State) -> Range<Int64> {
    state.chunks?.aligned(range) ?? range
  }

  /// Holds the chunks of a range that are there against the list, on threads of their own.
  func checkChunks(in range: Range<Int64>) {
    let (blob, chunks): (PartialBlob?, [Int]) = state.withLock { state in
      guard case .partial(let blob, _) = state.phase, state.chunks != nil else { return (nil, []) }
      return (blob, state.chunks?.takeUnchecked(in: range) { blob.contains($0) } ?? [])
    }
    guard let blob else { return }
    for chunk in chunks { store.chunking.start { self.check(chunk, blob) } }
  }

  private func check(_ chunk: Int, _ blob: PartialBlob) {
    guard let list = state.withLock({ $0.chunks?.list }) else { return }
    let range = list.range(of: chunk)
    let isRight: Bool
    do throws(Errno) {
      isRight = try matches(list, chunk, blob)
    } catch {
      state.withLock { $0.chunks?.abandon(chunk) }
      fail(
        [BlockMap.blocks(touching: range, size: descriptor.size)],
        with: ContentError(.disk, "\(blob.path)", "\(error)"),
        evenIfPresent: true
      )
      return
    }
    noteProgress()
    guard isRight else { return chunkIsWrong(chunk, list, blob) }
    state.withLock { $0.chunks?.pass(chunk) }
    answerReady()
    verify()
  }

  private func matches(_ list: ChunkList, _ chunk: Int, _ blob: PartialBlob) throws(Errno) -> Bool {
    let range = list.range(of: chunk)
    if list.chunkSize == BlockMap.chunkSize, let recorded = try blob.digest(ofChunk: chunk),
      recorded == list.digest(of: chunk)
    {
      return true
    }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 4096)
    defer { buffer.deallocate() }
    guard try blob.read(into: buffer, at: range.lowerBound) == range.count else { throw Errno.ioError }
    guard list.matches(UnsafeRawBufferPointer(buffer), chunk: chunk) else { return false }
    // So that it outlives a reboot; one that cannot be recorded does not.
    if list.chunkSize == BlockMap.chunkSize, let digest = list.digest(of: chunk) {
      try? blob.record(digest, ofChunk: chunk)
    }
    return true
  }

  private func chunkIsWrong(_ chunk: Int, _ list: ChunkList, _ blob: PartialBlob) {
    let range = list.range(of: chunk)
    let blocks = BlockMap.blocks(touching: range, size: descriptor.size)
    store.metrics.badChunks.add()
    // Out of the map first: nobody may find it there again.
    let isDropped = (try? blob.drop(blocks)) != nil
    if case .partial(_, let verifier) = state.withLock({ $0.phase }) {
      verifier.forget(
        Int(range.lowerBound / BlockMap.chunkSize)..<Int((range.upperBound - 1) / BlockMap.chunkSize) + 1
      )
    }
    let until = ContinuousClock.now + refusal
    let (verdict, host) = state.withLock { state in
      (state.chunks?.fail(chunk, refusedUntil: until), state.sources.first?.origin)
    }
    store.log.warning(
      "a chunk turned out wrong",
      metadata: [
        "blob": "\(descriptor.digest)", "chunk": "\(chunk)", "bytes": "\(range)",
        "registry": "\(host ?? "-")",
        "next": verdict == .retry && isDropped ? "it is fetched once more" : "reads of it fail for a while",
      ]
    )
    if verdict == .retry, isDropped {
      start(range, need: range, .demand, wantsNewConnection: true)
      return
    }
    let error = wrongChunk(chunk, host)
    fail([blocks], with: error, evenIfPresent: true)
    failWhole(with: error)
  }

  func wrongChunk(_ chunk: Int, _ host: String?) -> ContentError {
    ContentError(
      .corrupt,
      "\(descriptor.digest)",
      host: host,
      "chunk \(chunk) came twice with bytes that are not what its digest says",
      advice:
        "The registry or something on the way to it sends wrong bytes; it is asked again after \(refusal)"
    )
  }
}
