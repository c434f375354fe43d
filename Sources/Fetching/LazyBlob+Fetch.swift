package import Content
import LocalRegistry
import Logging
import OCI
import Synchronization
import SystemPackage

/// Flights: requests for runs of blocks, and what becomes of them.
extension LazyBlob {
  private struct Flight {
    let identifier: UInt64
    let blocks: Range<Int>
    let purpose: FetchTable.Purpose
  }

  /// Starts what a read needs and the window ahead of it, as far as they are missing.
  func demand(_ range: Range<Int64>) {
    let ahead = state.withLock { $0.window.advance(range) }
    start(ahead, .demand)
    fill()
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
    store.releaseIfIdle(self)
  }

  /// Starts the next part of what nobody waits for, if it is wanted and nobody's request is under way.
  func fill() {
    let run: Range<Int>? = state.withLock { state in
      guard case .partial(let blob, _) = state.phase, !state.isFillPaused else { return nil }
      guard state.wantsWhole || store.policy.fill == .background else { return nil }
      guard state.table.flightCount(.background) == 0 else { return nil }
      // A reader's bytes go first; one who waits for the whole has none of its own.
      guard state.table.flightCount(.demand) == 0 || state.wantsWhole else { return nil }
      let blocks = BlockMap.blockCount(size: descriptor.size)
      return state.table.uncovered(blob.missing(in: 0..<blocks)).first
    }
    guard let run else { return }
    let limit = Int(store.policy.requestSize / BlockMap.blockSize)
    let part = run.lowerBound..<min(run.upperBound, run.lowerBound + limit)
    start(BlockMap.bytes(of: part, size: descriptor.size), .background)
  }

  /// Starts flights for what is missing of a range and under way nowhere.
  func start(_ range: Range<Int64>, _ purpose: FetchTable.Purpose) {
    let limit = Int(store.policy.requestSize / BlockMap.blockSize)
    let (blob, flights): (PartialBlob?, [Flight]) = state.withLock { state in
      guard case .partial(let blob, _) = state.phase else { return (nil, []) }
      let blocks = BlockMap.blocks(touching: range, size: descriptor.size)
      var flights: [Flight] = []
      for run in state.table.uncovered(blob.missing(in: blocks)) {
        for first in stride(from: run.lowerBound, to: run.upperBound, by: limit) {
          let part = first..<min(first + limit, run.upperBound)
          state.table.begin(state.nextIdentifier, purpose, part)
          flights.append(Flight(identifier: state.nextIdentifier, blocks: part, purpose: purpose))
          state.nextIdentifier += 1
        }
      }
      return (blob, flights)
    }
    guard let blob, !flights.isEmpty else { return }
    store.keep(self)
    for flight in flights {
      Task { await self.fly(flight, blob) }
    }
  }

  private func fly(_ flight: Flight, _ blob: PartialBlob) async {
    do throws(ContentError) {
      // Another process may be fetching the same blocks: theirs are waited for, and taken over if they fail.
      while true {
        let before = blob.presentBytes
        let claimed: [Range<Int>]?
        do throws(Errno) {
          claimed = try blob.claim(flight.blocks)
        } catch {
          throw ContentError(.disk, "\(blob.path)", "\(error)")
        }
        if let claimed {
          if blob.presentBytes != before { noteProgress() }
          arrived(flight.blocks)
          for run in claimed { try await bring(run, flight, blob) }
          break
        }
        if blob.presentBytes != before {
          noteProgress()
          arrived(flight.blocks)
        }
        if blob.missing(in: flight.blocks).isEmpty { break }
        do {
          try await Task.sleep(for: .milliseconds(10))
        } catch {
          throw ContentError(.cancelled, "\(descriptor.digest)", "cancelled")
        }
      }
      end(flight, blob, nil)
    } catch {
      end(flight, blob, error)
    }
  }

  private func bring(_ run: Range<Int>, _ flight: Flight, _ blob: PartialBlob) async throws(ContentError) {
    let range = BlockMap.bytes(of: run, size: descriptor.size)
    let sources = state.withLock { $0.sources }
    guard !sources.isEmpty else {
      throw ContentError(
        store.isOffline ? .offline : .notFound,
        "\(descriptor.digest)",
        store.isOffline
          ? "is not in the local registry, and the mount is offline" : "is not in the local registry",
        advice: store.isOffline ? "Pull it while there is a network" : nil
      )
    }
    var last: ContentError?
    for source in sources {
      let sink = FlightSink(
        blob: self,
        partial: blob,
        flight: flight.identifier,
        purpose: flight.purpose,
        range: range
      )
      do throws(ContentError) {
        try await source.fetch(descriptor, range: range, into: sink)
        if let error = sink.failure { throw error }
        // A stream that was ended because nobody waits for more has done its work.
        if sink.hasDeclined || blob.missing(in: run).isEmpty { return }
        throw ContentError(
          .unreachable,
          "\(descriptor.digest)",
          host: source.origin,
          "the bytes \(range) did not all come"
        )
      } catch {
        last = error
        if error.code == .cancelled || error.code == .disk { break }
      }
    }
    if let last { throw last }
  }

  private func end(_ flight: Flight, _ blob: PartialBlob, _ error: ContentError?) {
    // Claims go before the table lets go: another flight must not claim what this one is about to release.
    let runs = state.withLock { $0.table.blocks(of: flight.identifier) }
    for run in runs { blob.release(run) }
    state.withLock { state in
      _ = state.table.end(flight.identifier)
      if error != nil { state.isFillPaused = true }
    }
    if let error {
      store.log.warning(
        "bytes of a blob could not be fetched",
        metadata: ["blob": "\(descriptor.digest)", "blocks": "\(flight.blocks)", "reason": "\(error)"]
      )
      if error.isDiskFull { serveWithoutKeeping(runs, error) }
      fail(runs, with: error)
    }
    arrived(flight.blocks)
    // Somebody may wait for blocks that this flight gave up while it went on with others.
    restart()
    fill()
    store.releaseIfIdle(self)
  }

  /// Starts flights for waiters whose blocks no flight brings.
  private func restart() {
    let ranges = state.withLock { state in state.table.waiters.compactMap(\.range) }
    for range in ranges { start(range, .demand) }
  }

  func noteProgress() {
    state.withLock { $0.lastProgress = ContinuousClock.now }
  }

  /// After blocks came: answers who waited, hashes the chunks that became whole.
  func arrived(_ blocks: Range<Int>) {
    answerReady()
    guard case .partial(let blob, _) = state.withLock({ $0.phase }), !blocks.isEmpty else { return }
    let blocksOfChunk = Int(BlockMap.chunkSize / BlockMap.blockSize)
    let chunks = (blocks.lowerBound / blocksOfChunk)...((blocks.upperBound - 1) / blocksOfChunk)
    let whole = chunks.filter { blob.contains(chunk: $0) }
    if !whole.isEmpty { verify(whole) }
  }

  /// A source that knows no ranges sends the blob from its start: takes every block that nobody else brings.
  func widen(_ flight: UInt64, _ purpose: FetchTable.Purpose, _ blob: PartialBlob) {
    let blocks = BlockMap.blockCount(size: descriptor.size)
    let runs = state.withLock { $0.table.uncovered(blob.missing(in: 0..<blocks)) }
    let limit = Int(store.policy.requestSize / BlockMap.blockSize)
    for run in runs {
      for first in stride(from: run.lowerBound, to: run.upperBound, by: limit) {
        widen(flight, purpose, blob, first..<min(first + limit, run.upperBound))
      }
    }
  }

  /// Takes a run, or the parts of it that no other process fetches.
  private func widen(_ flight: UInt64, _ purpose: FetchTable.Purpose, _ blob: PartialBlob, _ run: Range<Int>)
  {
    let isFree = state.withLock { state in
      let isFree = state.table.uncovered([run]) == [run]
      if isFree { state.table.begin(flight, purpose, run) }
      return isFree
    }
    guard isFree else { return }
    guard (try? blob.claim(run)) == nil else { return }
    state.withLock { $0.table.giveBack(run, of: flight) }
    guard run.count > 1 else { return }
    let middle = run.lowerBound + run.count / 2
    widen(flight, purpose, blob, run.lowerBound..<middle)
    widen(flight, purpose, blob, middle..<run.upperBound)
  }

  /// Whether a flight that was widened should go on: somebody waits for bytes, or the blob is to be filled.
  func wantsMore(_ blob: PartialBlob) -> Bool {
    guard !blob.isComplete else { return false }
    return state.withLock { state in
      if state.wantsWhole || store.policy.fill == .background { return true }
      return state.table.waiters.contains { waiter in waiter.range.map { !blob.contains($0) } ?? true }
    }
  }
}

/// Takes the bytes of one flight.
private struct FlightSink: BlobSink {
  let blob: LazyBlob
  let partial: PartialBlob
  let flight: UInt64
  let purpose: FetchTable.Purpose
  let range: Range<Int64>
  private let condition = Condition()

  init(
    blob: LazyBlob,
    partial: PartialBlob,
    flight: UInt64,
    purpose: FetchTable.Purpose,
    range: Range<Int64>
  ) {
    self.blob = blob
    self.partial = partial
    self.flight = flight
    self.purpose = purpose
    self.range = range
  }

  var failure: ContentError? { condition.failure }
  var hasDeclined: Bool { condition.hasDeclined }

  func receive(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> Bool {
    let isOutside = offset < range.lowerBound || offset + Int64(bytes.count) > range.upperBound
    if isOutside, condition.widen() { blob.widen(flight, purpose, partial) }
    blob.noteProgress()
    do throws(Errno) {
      let finished = try partial.write(bytes, at: offset)
      for run in finished { blob.arrived(run) }
    } catch {
      condition.fail(ContentError(.disk, "\(partial.path)", "\(error)", isDiskFull: error == .noSpace))
      return false
    }
    guard condition.isWidened, !blob.wantsMore(partial) else { return true }
    condition.decline()
    return false
  }
}
