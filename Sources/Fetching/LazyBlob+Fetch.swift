import BlobCache
import Content
import LocalRegistry
import Logging
import OCI
import Locking
import SystemPackage
import Telemetry

/// Flights: requests for runs of blocks, and what becomes of them.
extension LazyBlob {
  typealias Purpose = FlightQueue.Purpose

  private struct Flight {
    let identifier: UInt64
    let purpose: Purpose
    let control: FlightControl
    let ingest: BlobIngest
  }

  private struct Plan {
    var blob: PartialBlob?
    var flights: [Flight] = []
    /// Flights that lost all they were to bring.
    var emptied: [UInt64] = []
    /// Flights under way that bring what somebody waits for, and the first such block.
    var urgent: [(identifier: UInt64, control: FlightControl, block: Int)] = []
  }

  /// Starts flights for what is missing of a range and under way nowhere.
  ///
  /// - Parameters:
  ///   - range: within the blob.
  ///   - need: the part that somebody waits for; nil for none.
  ///   - purpose: of the rest.
  ///   - wantsNewConnection: no connection that was used before may be used.
  ///   - isHedge: another request brings the same, too slowly.
  func start(
    _ range: Range<Int64>,
    need: Range<Int64>? = nil,
    _ purpose: Purpose,
    wantsNewConnection: Bool = false,
    isHedge: Bool = false
  ) {
    let limit = store.scheduler.limit(of: link)
    // Cut twice at the most: by then others have moved on.
    for _ in 0..<3 {
      let plan = state.withLock { state in
        makePlan(&state, range, need, purpose, blockCount(limit), wantsNewConnection, isHedge)
      }
      for identifier in plan.emptied { store.scheduler.finish(identifier) }
      if let blob = plan.blob, !plan.flights.isEmpty { submit(plan.flights, blob) }
      var isCut = false
      for (identifier, control, block) in plan.urgent {
        if let blob = plan.blob, relieve(identifier, control, at: block, limit, blob) {
          isCut = true
        } else {
          control.promote(to: .demand)
          store.scheduler.promote(identifier, to: .demand)
        }
      }
      guard isCut else { return }
      // Others may have waited for what the cut one does not bring any more.
      restart()
    }
  }

  private func makePlan(
    _ state: inout State,
    _ range: Range<Int64>,
    _ need: Range<Int64>?,
    _ purpose: Purpose,
    _ part: Int,
    _ wantsNewConnection: Bool,
    _ isHedge: Bool
  ) -> Plan {
    guard case .partial(let blob, _) = state.phase else { return Plan() }
    var plan = Plan(blob: blob)
    let size = descriptor.size
    let blocks = BlockMap.blocks(touching: aligned(range, state), size: size)
    // What came wrong is still on the list of who brought it.
    if wantsNewConnection { state.table.relinquish(blocks) }
    let needed = need.map { BlockMap.blocks(touching: aligned($0, state), size: size) } ?? 0..<0
    let missing = permitted(blob.missing(in: blocks), state)
    let lacking = missing.compactMap { run in
      run.overlaps(needed) ? run.clamped(to: needed) : nil
    }
    plan.urgent = hurry(&state, lacking)
    if wantsNewConnection || !isStreaming(state, state.sources.first) {
      // A reader's bytes stand at the start of a request.
      let runs = state.table.take(missing, for: purpose).flatMap { run in
        run.lowerBound < needed.lowerBound && needed.lowerBound < run.upperBound
          ? [run.lowerBound..<needed.lowerBound, needed.lowerBound..<run.upperBound] : [run]
      }
      for run in runs {
        var first = run.lowerBound
        while first < run.upperBound {
          let piece = first..<Self.pieceEnd(first, run.upperBound, part)
          first = piece.upperBound
          let isNeeded = piece.overlaps(needed)
          let flight = makeFlight(isNeeded ? .demand : purpose, blob, wantsNewConnection, isHedge)
          state.table.begin(flight.identifier, flight.purpose, piece)
          state.controls[flight.identifier] = flight.control
          plan.flights.append(flight)
        }
      }
    }
    plan.emptied = state.table.removeEmpty()
    for identifier in plan.emptied { state.controls[identifier] = nil }
    return plan
  }

  private func makeFlight(
    _ purpose: Purpose,
    _ blob: PartialBlob,
    _ wantsNewConnection: Bool,
    _ isHedge: Bool
  ) -> Flight {
    Flight(
      identifier: store.scheduler.makeIdentifier(),
      purpose: purpose,
      control: FlightControl(purpose, wantsNewConnection: wantsNewConnection, isHedge: isHedge),
      ingest: BlobIngest(into: blob, space: store.local.space, buffers: store.buffers)
    )
  }

  /// Makes flights more urgent that bring what somebody waits for; of those under way, with the first such block of each.
  private func hurry(
    _ state: inout State,
    _ lacking: [Range<Int>]
  ) -> [(identifier: UInt64, control: FlightControl, block: Int)] {
    guard !lacking.isEmpty else { return [] }
    var urgent: [(identifier: UInt64, control: FlightControl, block: Int)] = []
    _ = state.table.take(lacking, for: .demand)
    for identifier in state.table.started(bringing: lacking) {
      let theirs = state.table.blocks(of: identifier)
      let first = lacking.flatMap { run in
        theirs.filter { $0.overlaps(run) }.map { $0.clamped(to: run).lowerBound }
      }
      if let control = state.controls[identifier], let block = first.min() {
        urgent.append((identifier, control, block))
      }
    }
    for identifier in state.table.promote(bringing: lacking, to: .demand) {
      state.controls[identifier]?.promote(to: .demand)
    }
    return urgent
  }

  // Blocks of what goes to the disk in one write.
  private static let stagedBlocks = Int(BlobIngest.pieceSize / BlockMap.blockSize)

  /// Where a request that begins at a block ends: at a border of what is written at once, so that no two requests share
  /// a write.
  private static func pieceEnd(_ first: Int, _ end: Int, _ part: Int) -> Int {
    guard first + part < end else { return end }
    let border = (first + part) / stagedBlocks * stagedBlocks
    return border > first ? border : first + part
  }

  /// Without the chunks that are not asked for at present.
  func permitted(_ missing: [Range<Int>], _ state: borrowing State) -> [Range<Int>] {
    guard let chunks = state.chunks else { return missing }
    let now = ContinuousClock.now
    var result: [Range<Int>] = []
    for run in missing {
      var rest = run
      while let refused = chunks.firstRefused(in: BlockMap.bytes(of: rest, size: descriptor.size), now: now) {
        let blocks = BlockMap.blocks(touching: chunks.list.range(of: refused), size: descriptor.size)
        if rest.lowerBound < blocks.lowerBound { result.append(rest.lowerBound..<blocks.lowerBound) }
        rest = min(blocks.upperBound, rest.upperBound)..<rest.upperBound
        if rest.isEmpty { break }
      }
      if !rest.isEmpty { result.append(rest) }
    }
    return result
  }

  private func submit(_ flights: [Flight], _ blob: PartialBlob) {
    store.keep(self)
    let link = link
    if state.withLock({ $0.sources.first?.hasProvenRanges ?? false }) { store.scheduler.prove(link) }
    store.scheduler.submit(
      flights.map { flight in
        (
          FlightQueue.Flight(
            identifier: flight.identifier,
            link: link,
            blob: number,
            purpose: flight.purpose
          ),
          { @Sendable in self.launch(flight, blob) }
        )
      }
    )
  }

  private func launch(_ flight: Flight, _ blob: PartialBlob) {
    Task { await fly(flight, blob) }
  }

  /// Ends a flight before bytes that are far from where it is and that somebody waits for; a new one brings those.
  private func relieve(
    _ identifier: UInt64,
    _ control: FlightControl,
    at block: Int,
    _ limit: ParallelLimit,
    _ blob: PartialBlob
  ) -> Bool {
    let offset = Int64(block) * BlockMap.blockSize
    // At once with the claims: a flight that begins in between would ask for what it has lost, and one that claims in
    // between would lose what it has.
    return state.withLock { state in
      guard control.cut(at: offset, ifFartherThan: limit.cutDistance, andLaterThan: limit.cutTime) else {
        return false
      }
      for run in state.table.truncate(identifier, at: block) { blob.release(run) }
      return true
    }
  }

  private func fly(_ flight: Flight, _ blob: PartialBlob) async {
    guard state.withLock({ $0.table.start(flight.identifier) }) != nil else {
      end(flight, blob, nil)
      return
    }
    do throws(ContentError) {
      // Another process may be fetching the same blocks: theirs are waited for, and taken over if they fail.
      // Meanwhile a reader may take blocks back that it need not wait for.
      while let blocks = state.withLock({ $0.table.blocks(of: flight.identifier).first }) {
        let before = blob.presentBytes
        let claimed = try flight.ingest.claim(blocks)
        if blob.presentBytes != before {
          noteProgress()
          arrived(blocks)
        }
        if let claimed {
          // The rest is another process's: who wants it asks for it anew.
          if claimed.end < blocks.upperBound {
            _ = state.withLock { $0.table.truncate(flight.identifier, at: claimed.end) }
            restart()
          }
          for run in claimed.missing { try await keep(run, flight, blob) }
          break
        }
        if blob.missing(in: blocks).isEmpty { break }
        if claimed == nil { store.scheduler.prove(link) }
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

  /// Brings a run, with room for it.
  private func keep(_ run: Range<Int>, _ flight: Flight, _ blob: PartialBlob) async throws(ContentError) {
    try await flight.ingest.reserve(run)
    defer { flight.ingest.settle() }
    try await bring(run, flight, blob)
  }

  private func bring(_ run: Range<Int>, _ flight: Flight, _ blob: PartialBlob) async throws(ContentError) {
    var sources = state.withLock { $0.sources }
    guard !sources.isEmpty else { throw sourceless }
    // What came wrong from the first is asked of the next.
    if flight.control.wantsNewConnection { sources.append(sources.removeFirst()) }
    var last: ContentError?
    for source in sources {
      // It may have been cut before it came to this run, or to this source.
      let left: Range<Int>? = state.withLock { state in
        guard let bound = state.table.blocks(of: flight.identifier).last?.upperBound, bound > run.lowerBound
        else { return nil }
        let left = run.lowerBound..<min(run.upperBound, bound)
        flight.control.begin(BlockMap.bytes(of: left, size: descriptor.size))
        return left
      }
      guard let run = left else { return }
      let range = BlockMap.bytes(of: run, size: descriptor.size)
      let sink = FlightSink(
        blob: self,
        partial: blob,
        flight: flight.identifier,
        ingest: flight.ingest,
        control: flight.control,
        link: source.link
      )
      do throws(ContentError) {
        let failure: ContentError?
        do throws(ContentError) {
          try await source.fetch(descriptor, range: range, into: sink)
          failure = nil
        } catch {
          failure = error
        }
        // What came before the end counts, however it ended.
        try await keepRest(of: flight)
        if let error = flight.control.failure ?? failure { throw error }
        // A stream that was ended because nobody waits for more has done its work.
        if flight.control.hasDeclined || flight.control.isAtEnd || blob.missing(in: run).isEmpty { return }
        throw ContentError(
          .unreachable,
          "\(descriptor.digest)",
          host: source.origin,
          "the bytes \(range) did not all come"
        )
      } catch {
        if flight.control.failure == nil, flight.control.isAtEnd { return }
        last = error
        if error.code == .cancelled || error.code == .disk { break }
      }
    }
    if let last { throw last }
  }

  /// Puts what a flight has in memory on the disk.
  private func keepRest(of flight: Flight) async throws(ContentError) {
    guard flight.ingest.hasStaged else { return }
    try await store.local.space.executor.run { () throws(ContentError) in try self.flush(flight.ingest) }
  }

  /// Puts bytes of a request that are in memory on the disk.
  func flush(_ ingest: BlobIngest) throws(ContentError) {
    let kept = try ingest.flush()
    answerReady()
    for run in kept { arrived(run) }
  }

  /// Whether somebody waits for bytes that have to be verified on the disk first.
  func needsOnDisk(_ range: Range<Int64>) -> Bool {
    state.withLock { state in
      guard let list = state.chunks?.list,
        range.lowerBound / list.chunkSize != range.upperBound / list.chunkSize
      else { return false }
      return state.waiters.all.contains { $0.isReader }
    }
  }

  private func end(_ flight: Flight, _ blob: PartialBlob, _ error: ContentError?) {
    // Claims go before the table lets go: another flight must not claim what this one is about to release.
    let runs = state.withLock { $0.table.prepareToEnd(flight.identifier) }
    flight.ingest.release(runs)
    state.withLock { state in
      _ = state.table.end(flight.identifier)
      state.controls[flight.identifier] = nil
      if error != nil, !flight.control.isHedge { state.isFillPaused = true }
    }
    store.scheduler.finish(flight.identifier)
    if let error, flight.control.isHedge, !error.isDiskFull {
      // Those who wait get a request of their own below.
      store.log.debug(
        "the second request failed as well",
        metadata: ["blob": "\(descriptor.digest)", "reason": "\(error)"]
      )
    } else if let error {
      if error.isDiskFull {
        store.local.space.report(error)
        serveWithoutKeeping(runs, error)
      } else {
        warn(runs, error)
      }
      // Who came to read meanwhile is served in the same way, by a request of its own.
      fail(runs, with: error, sparesReaders: error.isDiskFull && mayServePartial)
    }
    for run in runs { arrived(run) }
    if runs.isEmpty { answerReady() }
    // Somebody may wait for blocks that this flight gave up while it went on with others.
    restart()
    fill()
    store.releaseIfIdle(self)
  }

  /// Starts flights for waiters whose blocks no flight brings.
  private func restart() {
    let waiting = state.withLock { state in
      state.waiters.all.filter { !$0.needsWhole }.map { (range: $0.range, isReader: $0.isReader) }
    }
    for (range, isReader) in waiting {
      start(range, need: isReader ? range : nil, isReader ? .demand : .window)
    }
  }

  func noteProgress() { progress.note() }

  /// After blocks came: answers who waited, hashes the chunks that became whole.
  func arrived(_ blocks: Range<Int>) {
    answerReady()
    guard case .partial(let blob, _) = state.withLock({ $0.phase }), !blocks.isEmpty else { return }
    let range = BlockMap.bytes(of: blocks, size: descriptor.size)
    checkChunks(in: range)
    readHeaders(after: range)
    let whole = BlockMap.chunks(touching: range).filter { blob.contains(chunk: $0) }
    if !whole.isEmpty { verify(whole) }
  }
}
