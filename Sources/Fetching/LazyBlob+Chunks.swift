import BlobCache
import Content
import LocalRegistry
import Logging
import OCI
import Locking
import SystemPackage
import Telemetry

/// Verification of single chunks against a trusted list: every byte is verified before it is served (design 5).
extension LazyBlob {
  // As long as a blob that turned out wrong.
  private var refusal: Duration { store.policy.firstRefusal }

  /// Uses a list from now on, unless one is used already.
  ///
  /// A list that a manifest names is that manifest's word alone: once the blob was opened by way of another, which names
  /// another or none, it is used for nobody, as it may be made to fit wrong bytes.
  ///
  /// - Parameters:
  ///   - list: trusted, of this blob; nil where there is none.
  ///   - named: the digest that the manifest has for it; nil where it names none.
  ///   - isOwn: it is of an earlier verification.
  func adopt(_ list: ChunkList?, named: Digest?, isOwn: Bool) {
    let isDropped = state.withLock { state in
      guard case .partial = state.phase, !state.usesOwnList else { return false }
      if let list, isOwn {
        state.usesOwnList = true
        if state.chunks?.list != list { state.chunks = TrustedChunks(list) }
        return false
      }
      state.namedLists.insert(named)
      if state.namedLists.count > 1 {
        defer { state.chunks = nil }
        // Who waits for a verified part waits for the whole from now on, if the policy wants it.
        if !servesUnverified { state.wantsWhole = true }
        return state.chunks != nil
      }
      if let list, state.chunks == nil { state.chunks = TrustedChunks(list) }
      return false
    }
    // What an earlier process left counts once it was held against the list.
    store.chunking.start { self.checkInBulk(from: 0) }
    if isDropped {
      answerReady()
      verify()
      fill()
    }
  }

  /// Whether a list is still to be looked for.
  func needsList(_ named: Digest?) -> Bool {
    state.withLock { state in
      guard case .partial = state.phase, !state.usesOwnList else { return false }
      return state.chunks == nil || !state.namedLists.contains(named)
    }
  }

  /// Whether the bytes of a range may be served; for a command that fetches ahead, whether they are on the disk.
  func isReady(
    _ range: Range<Int64>,
    _ blob: PartialBlob,
    _ chunks: TrustedChunks?,
    isReader: Bool = true
  ) -> Bool {
    if let chunks { return chunks.covers(range) }
    return servesUnverified && (isReader ? blob.holds(range) : blob.contains(range))
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

  /// Looks at a whole blob chunk by chunk, so that what readers wait for comes in between.
  func checkInBulk(from offset: Int64) {
    let next: (chunk: Int, end: Int64, blob: PartialBlob)? = state.withLock { state in
      guard case .partial(let blob, _) = state.phase, let list = state.chunks?.list else { return nil }
      var position = offset
      while position < descriptor.size {
        let end = min(position + list.chunkSize, descriptor.size)
        let found = state.chunks?.takeUnchecked(in: position..<end) { blob.contains($0) } ?? []
        if let chunk = found.first { return (chunk, end, blob) }
        position = end
      }
      return nil
    }
    guard let next else { return }
    check(next.chunk, next.blob)
    store.chunking.start { self.checkInBulk(from: next.end) }
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
    let entry = ChunkRecord(kind: list.kind, bytes: Array(list.entry(of: chunk)))
    if list.chunkSize == BlockMap.chunkSize, try blob.record(ofChunk: chunk) == entry { return true }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 4096)
    defer { buffer.deallocate() }
    guard try blob.read(into: buffer, at: range.lowerBound) == range.count else { throw Errno.ioError }
    guard list.matches(UnsafeRawBufferPointer(buffer), chunk: chunk) else { return false }
    // So that it outlives a reboot; one that cannot be recorded does not.
    if list.chunkSize == BlockMap.chunkSize {
      try? blob.record(entry, ofChunk: chunk)
      // A state is worth something with the one before it, which says nothing of the bytes of that chunk.
      if list.kind == .states, chunk > 0, try blob.record(ofChunk: chunk - 1) == nil {
        let before = Array(list.entry(of: chunk - 1))
        try? blob.record(ChunkRecord(kind: .states, bytes: before, isVerified: false), ofChunk: chunk - 1)
      }
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
      verifier.forget(BlockMap.chunks(touching: range))
    }
    let until = ContinuousClock.now + refusal
    let (verdict, host) = state.withLock { state in
      (state.chunks?.fail(chunk, refusedUntil: until), state.sources.first?.origin)
    }
    store.log.warning(
      "a chunk turned out wrong",
      metadata: [
        "file": "\(state.withLock { $0.formats.name(at: range.lowerBound) } ?? "-")",
        "blob": "\(descriptor.digest)", "chunk": "\(chunk)", "bytes": "\(range)",
        "registry": "\(host ?? "-")",
        "next": verdict == .retry && isDropped ? "it is fetched once more" : "reads of it fail for a while",
      ]
    )
    if verdict == .retry, isDropped {
      start(range, need: range, .demand, wantsNewConnection: true)
      // It may have come again by another way in the meantime.
      checkChunks(in: range)
      return
    }
    let error =
      isDropped
      ? state.withLock { wrongChunk(chunk, $0) }
      : ContentError(
        .corrupt,
        "\(descriptor.digest)",
        host: host,
        "chunk \(chunk) is wrong, and cannot be fetched again while another process has the blob open",
        advice: "End the other weightfs that reads it, and read again"
      )
    fail([blocks], with: error, evenIfPresent: true)
    failWhole(with: error)
  }

  func wrongChunk(_ chunk: Int, _ state: borrowing State) -> ContentError {
    ContentError(
      .corrupt,
      subject(at: state.chunks?.list.range(of: chunk).lowerBound ?? 0, state),
      host: state.sources.first?.origin,
      "chunk \(chunk) came twice with bytes that are not what its digest says",
      advice:
        "The registry or something on the way to it sends wrong bytes; it is asked again after \(refusal)"
    )
  }
}
