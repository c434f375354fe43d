import BlobCache
package import Content
import LocalRegistry
import Locking
import OCI

/// Starts the requests of the blob: for readers, for the window ahead of them, and for completion.
extension LazyBlob {
  typealias Purpose = FlightQueue.Purpose

  /// Starts requests for the absent bytes of a read and its window, and for the completion of the blob.
  ///
  /// - Parameters:
  ///   - range: The range of the read.
  ///   - known: The window of the read; nil if it was not computed yet.
  func demand(_ range: Range<Int64>, ahead known: Range<Int64>? = nil) {
    let limit = store.scheduler.limit(of: link)
    let budget = store.policy.windowBudget / Int64(max(1, store.scheduler.blobCount))
    // Measured at each request and not at each read: other blobs share the values that are queried here.
    let ahead = state.withLock { state in
      state.demand.measureWindow(linkWindow: limit.windowSize, budget: budget)
      return known ?? state.demand.window(ahead: range)
    }
    start(FetchRequest(ahead, need: range, .window))
    fill()
  }

  /// Fetches all bytes and waits until they are verified.
  ///
  /// - Throws: `ContentError` if they cannot be fetched or are wrong.
  package func complete() async throws(ContentError) {
    let result: Result<Void, ContentError> = await withCheckedContinuation { continuation in
      waitForAllBytes(ReadReply(responder: CompletionResponder(continuation), token: 0))
    }
    try result.get()
  }

  private func waitForAllBytes(_ reply: consuming ReadReply) {
    enqueue(reply, 0..<0, caller: nil, isForWhole: true)
    store.keep(self)
    handle(.checkWanted)
    verify()
    fill()
    failIfNothingArrives()
    store.releaseIfIdle(self)
  }

  /// Fails the waiters for all bytes if no further bytes can be requested.
  private func failIfNothingArrives() {
    let (isSourceless, refused): (Bool, Int?) = state.withLock { state in
      guard let content = state.blob.partial, !content.isComplete, state.flights.isEmpty else {
        return (false, nil)
      }
      if state.sources.isEmpty { return (true, nil) }
      return (false, state.blob.chunks?.firstRefused(in: 0..<descriptor.size, now: .now))
    }
    if isSourceless { return handle(.waitFailed(sourceless, onlyForAllBytes: true)) }
    if let refused { handle(.waitFailed(wrongChunk(refused), onlyForAllBytes: true)) }
  }

  var sourceless: ContentError {
    ContentError(
      store.isOffline ? .offline : .notFound,
      "\(descriptor.digest)",
      store.isOffline
        ? "is not in the local registry, and the mount is offline" : "is not in the local registry",
      advice: store.isOffline ? "Pull it while the network is available" : nil
    )
  }

  /// Starts requests that no reader waits for, one more than the endpoint's limit.
  func fill() {
    let limit = store.scheduler.limit(of: link)
    let appetite = FetchDemand.Appetite(
      requests: limit.value + 1,
      part: blockCount(limit),
      fillsInBackground: store.policy.fill == .background
    )
    for _ in 0..<appetite.requests {
      let next = state.withLock { state -> (blocks: Range<Int>, purpose: Purpose)? in
        guard let content = state.blob.partial, !state.sources.isEmpty, !state.isStreaming else { return nil }
        return state.demand.nextFill(appetite, state.blob, content, now: .now)
      }
      guard let next else { return }
      start(FetchRequest(BlockMap.bytes(of: next.blocks, size: descriptor.size), next.purpose))
    }
  }

  private func blockCount(_ limit: ParallelLimit) -> Int {
    max(1, Int(min(store.policy.requestSize, limit.requestSize) / BlockMap.blockSize))
  }

  // MARK: Requests

  /// Starts flights for the absent bytes of a request that no flight fetches.
  func start(_ request: FetchRequest) {
    let limit = store.scheduler.limit(of: link)
    // At most two cuts: by then other requests have progressed.
    for _ in 0..<3 {
      guard let content = partial else { return }
      let (plan, flights) = plan(request, content.blob, limit)
      for identifier in plan.emptied { store.scheduler.finish(identifier) }
      if !flights.isEmpty { submit(flights) }
      var isCut = false
      for (identifier, block) in plan.urgent {
        guard let control = state.withLock({ $0.flights[identifier] }) else { continue }
        if cut(identifier, control, at: block, limit, content.blob) {
          isCut = true
        } else {
          control.promote(to: .demand)
          store.scheduler.promote(identifier, to: .demand)
        }
      }
      guard isCut else { return }
      // Other waiters may need bytes that the cut request no longer fetches.
      restart()
    }
  }

  private func plan(
    _ request: FetchRequest,
    _ partial: PartialBlob,
    _ limit: ParallelLimit
  ) -> (FetchDemand.Plan, [Flight]) {
    let part = blockCount(limit)
    return state.withLock { state in
      guard let content = state.blob.partial else { return (FetchDemand.Plan(), []) }
      let plan = state.demand.plan(
        request,
        part: part,
        isStreaming: state.isStreaming,
        state.blob,
        content,
        now: .now
      ) { store.scheduler.makeIdentifier() }
      let flights = plan.requests.map { planned in
        Flight(
          planned.identifier,
          FlightControl(
            planned.purpose,
            wantsNewConnection: request.wantsNewConnection,
            isHedge: request.isHedge
          ),
          of: self,
          partial
        )
      }
      for flight in flights { state.flights[flight.identifier] = flight.control }
      for identifier in plan.emptied { state.flights[identifier] = nil }
      for identifier in plan.promoted { state.flights[identifier]?.promote(to: .demand) }
      return (plan, flights)
    }
  }

  private func submit(_ flights: [Flight]) {
    store.keep(self)
    let link = link
    if state.withLock({ $0.sources.first?.hasProvenRanges ?? false }) { store.scheduler.prove(link) }
    store.scheduler.submit(
      flights.map { flight in
        let queued = FlightQueue.Flight(
          identifier: flight.identifier,
          link: link,
          blob: number,
          purpose: flight.control.purpose
        )
        return (queued, { @Sendable in flight.launch() })
      }
    )
  }

  /// Cuts a request before bytes that a reader waits for and that are far ahead; another request fetches
  /// those.
  private func cut(
    _ identifier: UInt64,
    _ control: FlightControl,
    at block: Int,
    _ limit: ParallelLimit,
    _ blob: PartialBlob
  ) -> Bool {
    let offset = Int64(block) * BlockMap.blockSize
    // The cut and the release of claims are one step: otherwise a flight that begins in between would fetch
    // bytes that this one lost, and one that claims in between would lose its claim.
    return state.withLock { state in
      guard control.cut(at: offset, ifFartherThan: limit.cutDistance, andLaterThan: limit.cutTime) else {
        return false
      }
      for run in state.demand.table.truncate(identifier, at: block) { blob.release(run) }
      return true
    }
  }

  /// Starts flights for waiters whose blocks no flight fetches.
  func restart() {
    let waiting = state.withLock { state in
      state.blob.waiters.all.filter { !$0.needsWhole }.map { (range: $0.range, isReader: $0.isReader) }
    }
    for (range, isReader) in waiting {
      start(FetchRequest(range, need: isReader ? range : nil, isReader ? .demand : .window))
    }
  }

  // MARK: Arrivals

  func noteProgress() { progress.note() }

  /// Handles blocks that became present: answers waiters, compares chunks and hashes.
  func arrived(_ blocks: Range<Int>) {
    handle(.arrived)
    guard let content = partial, !blocks.isEmpty else { return }
    let range = BlockMap.bytes(of: blocks, size: descriptor.size)
    checkChunks(in: range)
    readHeaders(after: range)
    let whole = BlockMap.chunks(touching: range).filter { content.blob.contains(chunk: $0) }
    if !whole.isEmpty { verify(whole) }
  }

  /// Writes the staged bytes of a request to the disk.
  func flush(_ ingest: BlobIngest) throws(ContentError) {
    let kept = try ingest.flush()
    handle(.arrived)
    for run in kept { arrived(run) }
  }

  /// Returns whether a reader waits for bytes that must be verified on the disk first.
  func needsOnDisk(_ range: Range<Int64>) -> Bool {
    state.withLock { state in
      guard let list = state.blob.chunks?.list,
        range.lowerBound / list.chunkSize != range.upperBound / list.chunkSize
      else { return false }
      return state.blob.waiters.all.contains { $0.isReader }
    }
  }
}
