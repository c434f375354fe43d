import BlobCache
package import Content
import LocalRegistry
import Locking
import OCI

/// What is asked for: what readers need, the window ahead of them, and the rest of the blob.
extension LazyBlob {
  /// Starts what a read needs and the window ahead of it, as far as they are missing, and what there is room for beside.
  ///
  /// - Parameters:
  ///   - range: of the read.
  ///   - known: its window, where that was looked up already.
  func demand(_ range: Range<Int64>, ahead known: Range<Int64>? = nil) {
    measureWindow()
    let ahead = known ?? state.withLock { window(ahead: range, &$0) }
    start(ahead, need: range, .window)
    fill()
  }

  private func window(ahead range: Range<Int64>, _ state: inout State) -> Range<Int64> {
    if !state.isContentRead { state.isContentRead = !state.formats.isHeader(at: range.lowerBound) }
    let (region, first) = state.formats.region(at: range.lowerBound)
    let (end, _) = state.formats.region(at: range.upperBound - 1)
    return state.window.advance(range, in: region, endingIn: end, first: first, limit: state.windowSize)
  }

  /// The window of a read whose bytes are here; nil where nothing has to be asked for.
  func lack(ahead range: Range<Int64>, _ blob: PartialBlob, _ state: inout State) -> Range<Int64>? {
    let wasContentRead = state.isContentRead
    let ahead = window(ahead: range, &state)
    // With nothing under way nobody else goes on with the rest of the blob.
    guard wasContentRead == state.isContentRead, !state.controls.isEmpty else { return ahead }
    let blocks = BlockMap.blocks(touching: aligned(ahead, state), size: descriptor.size)
    return state.table.uncovered(blob.missing(in: blocks)).isEmpty ? nil : ahead
  }

  /// Notes how far ahead of one reader is fetched: what the link can bring, within what is set for all readers together.
  ///
  /// With each request that is sent, not with each read: other blobs share what is asked here.
  private func measureWindow() {
    let limit = store.scheduler.limit(of: link)
    let budget = store.policy.windowBudget / Int64(max(1, store.scheduler.blobCount))
    state.withLock { state in
      let share = budget / Int64(max(1, state.window.streamCount))
      state.windowSize = max(ReadWindow.first, min(share, max(limit.windowSize, ReadWindow.largest)))
    }
  }

  /// Fetches the whole blob and waits until it is verified.
  ///
  /// - Throws: `ContentError` where it cannot be had or turns out wrong.
  package func complete() async throws(ContentError) {
    let result: Result<Void, ContentError> = await withCheckedContinuation { continuation in
      let waiter = CompletionResponder(continuation)
      waitForWhole(ReadReply(responder: waiter, token: 0))
    }
    try result.get()
  }

  private func waitForWhole(_ reply: consuming ReadReply) {
    enqueue(reply, 0..<0, caller: nil, isForWhole: true)
    store.keep(self)
    answerReady()
    checkForeign()
    verify()
    fill()
    failIfNothingComes()
    store.releaseIfIdle(self)
  }

  /// Fails who waits for a whole of which nothing more can be asked for.
  private func failIfNothingComes() {
    let error: ContentError? = state.withLock { state in
      guard case .partial(let blob, _) = state.phase, !blob.isComplete, state.controls.isEmpty else {
        return nil
      }
      if state.sources.isEmpty { return sourceless }
      let refused = state.chunks?.firstRefused(in: 0..<descriptor.size, now: .now)
      return refused.map { wrongChunk($0, state) }
    }
    if let error { failWhole(with: error) }
  }

  var sourceless: ContentError {
    ContentError(
      store.isOffline ? .offline : .notFound,
      "\(descriptor.digest)",
      store.isOffline
        ? "is not in the local registry, and the mount is offline" : "is not in the local registry",
      advice: store.isOffline ? "Pull it while there is a network" : nil
    )
  }

  /// Starts the next parts of what nobody waits for, as many as the link takes and one more.
  func fill() {
    let limit = store.scheduler.limit(of: link)
    let appetite = limit.value + 1
    let part = blockCount(limit)
    for _ in 0..<appetite {
      guard let next = state.withLock({ nextFill(&$0, appetite, part) }) else { return }
      start(BlockMap.bytes(of: next.blocks, size: descriptor.size), next.purpose)
    }
  }

  private func nextFill(
    _ state: inout State,
    _ appetite: Int,
    _ part: Int
  ) -> (blocks: Range<Int>, purpose: Purpose)? {
    guard case .partial(let blob, _) = state.phase, !state.isFillPaused, let source = state.sources.first,
      !isStreaming(state, source)
    else { return nil }
    while state.profileIndex < state.profile.count {
      let first = state.profile[state.profileIndex]
      guard state.table.flightCount(from: .profile) < appetite else { return nil }
      let runs = state.table.uncovered(permitted(blob.missing(in: first), state))
      guard let run = runs.first else {
        state.profileIndex += 1
        continue
      }
      return (run.lowerBound..<min(run.upperBound, run.lowerBound + part), .profile)
    }
    guard
      state.wantsWhole || (store.policy.fill == .background && state.mayFill && state.isContentRead)
    else { return nil }
    // A reader who may only see verified bytes waits for all of them.
    let isRead = state.waiters.all.contains { $0.needsWhole && $0.isReader }
    let purpose: Purpose = isRead ? .demand : state.wantsWhole ? .window : .background
    guard state.table.flightCount(from: purpose) < appetite else { return nil }
    var position = 0
    while let run = state.table.nextUncovered(
      from: position,
      limit: part,
      { blob.nextMissing(from: $0, limit: $1) }
    ) {
      if let first = permitted([run], state).first { return (first, purpose) }
      position = run.upperBound
    }
    return nil
  }

  func blockCount(_ limit: ParallelLimit) -> Int {
    max(1, Int(min(store.policy.requestSize, limit.requestSize) / BlockMap.blockSize))
  }
}
