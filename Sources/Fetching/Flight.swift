import BlobCache
import Content
import LocalRegistry
import Locking
import Logging
import OCI

/// The life of one request: it waits for its turn, claims its blocks, reserves space, fetches from one source
/// after another, and finally releases the claims and space that it did not use.
///
///     launch ── turn ──► claim ── blocks of another process ──► wait, claim again
///                          │
///                          ▼
///                       reserve ──► fetch ──► end: release, answer waiters, start missing requests
final class Flight: Sendable {
  let identifier: UInt64
  let control: FlightControl
  private let ingest: BlobIngest
  private let blob: LazyBlob
  private let partial: PartialBlob

  // The interval between claims while another process fetches the same blocks.
  private static let claimInterval: Duration = .milliseconds(10)

  private var store: BlobStore { blob.store }
  private var descriptor: Descriptor { blob.descriptor }

  init(_ identifier: UInt64, _ control: FlightControl, of blob: LazyBlob, _ partial: PartialBlob) {
    self.identifier = identifier
    self.control = control
    self.blob = blob
    self.partial = partial
    ingest = BlobIngest(into: partial, space: blob.store.local.space, buffers: blob.store.buffers)
  }

  /// Runs the flight when its turn arrives.
  func launch() {
    Task { await run() }
  }

  private func run() async {
    guard blob.state.withLock({ $0.demand.table.start(identifier) }) != nil else { return end(nil) }
    do throws(ContentError) {
      try await fetchBlocks()
      end(nil)
    } catch {
      end(error)
    }
  }

  /// The first run to fetch; a reader may take blocks from the flight at any time.
  private var blocks: Range<Int>? {
    blob.state.withLock { $0.demand.table.blocks(of: identifier).first }
  }

  private func fetchBlocks() async throws(ContentError) {
    // Another process may be fetching the same blocks: the flight waits for them, and fetches them if that
    // process fails.
    while let blocks {
      let before = partial.presentBytes
      let claimed = try ingest.claim(blocks)
      if partial.presentBytes != before {
        blob.noteProgress()
        blob.arrived(blocks)
      }
      if let claimed {
        // The following blocks belong to another process: a waiter for them requests them again.
        if claimed.end < blocks.upperBound {
          _ = blob.state.withLock { $0.demand.table.truncate(identifier, at: claimed.end) }
          blob.restart()
        }
        for run in claimed.missing { try await fetch(run) }
        return
      }
      if partial.missing(in: blocks).isEmpty { return }
      store.scheduler.prove(blob.link)
      do {
        try await Task.sleep(for: Self.claimInterval)
      } catch {
        throw ContentError(.cancelled, "\(descriptor.digest)", "cancelled", underlying: error)
      }
    }
  }

  /// Fetches a run, with space reserved for it.
  private func fetch(_ run: Range<Int>) async throws(ContentError) {
    try await ingest.reserve(run)
    defer { ingest.settle() }
    var sources = blob.state.withLock { $0.sources }
    guard !sources.isEmpty else { throw blob.sourceless }
    // Bytes that were wrong are requested from the next source.
    if control.wantsNewConnection { sources.append(sources.removeFirst()) }
    var last: ContentError?
    for source in sources {
      // The flight may have been truncated before it reached this run or this source.
      guard let left = begin(run) else { return }
      do throws(ContentError) {
        try await fetch(left, from: source)
        return
      } catch {
        if control.failure == nil, control.isAtEnd { return }
        last = error
        if error.code == .cancelled || error.code == .disk { break }
      }
    }
    if let last { throw last }
  }

  /// Notes that a request for a run is about to be sent.
  ///
  /// - Returns: The part of the run that must still be fetched; nil if other flights took it.
  private func begin(_ run: Range<Int>) -> Range<Int>? {
    blob.state.withLock { state in
      guard let bound = state.demand.table.blocks(of: identifier).last?.upperBound, bound > run.lowerBound
      else { return nil }
      let left = run.lowerBound..<min(run.upperBound, bound)
      control.begin(BlockMap.bytes(of: left, size: descriptor.size))
      return left
    }
  }

  private func fetch(_ run: Range<Int>, from source: any Repository) async throws(ContentError) {
    let range = BlockMap.bytes(of: run, size: descriptor.size)
    let sink = FlightSink(
      blob: blob,
      partial: partial,
      flight: identifier,
      ingest: ingest,
      control: control,
      link: source.link
    )
    let failure: ContentError?
    do throws(ContentError) {
      try await source.fetch(descriptor, range: range, into: sink)
      failure = nil
    } catch {
      failure = error
    }
    // Bytes that arrived before the end count, regardless of the outcome.
    if ingest.hasStaged {
      try await store.local.space.executor.run { () throws(ContentError) in try self.blob.flush(self.ingest) }
    }
    if let error = control.failure ?? failure { throw error }
    // A stream that was ended because no waiter needs more of it has succeeded.
    if control.hasDeclined || control.isAtEnd || partial.missing(in: run).isEmpty { return }
    throw ContentError(
      .unreachable,
      "\(descriptor.digest)",
      host: source.origin,
      "not all of the bytes \(range) arrived"
    )
  }

  // MARK: The end

  private func end(_ error: ContentError?) {
    // Claims are released before the table removes the flight: another flight must not claim blocks that this
    // one releases.
    let runs = blob.state.withLock { $0.demand.table.prepareToEnd(identifier) }
    ingest.release(runs)
    blob.state.withLock { state in
      _ = state.demand.table.end(identifier)
      state.flights[identifier] = nil
      if error != nil, !control.isHedge { state.demand.isFillPaused = true }
    }
    store.scheduler.finish(identifier)
    if let error { tell(error, runs) }
    for run in runs { blob.arrived(run) }
    if runs.isEmpty { blob.handle(.arrived) }
    // A waiter may need blocks that this flight gave up while it fetched others.
    blob.restart()
    blob.fill()
    store.releaseIfIdle(blob)
  }

  private func tell(_ error: ContentError, _ runs: [Range<Int>]) {
    if control.isHedge, !error.isDiskFull {
      // The waiters receive a request of their own.
      store.log.debug(
        "the second request failed as well",
        metadata: ["blob": "\(descriptor.digest)", "reason": "\(error)"]
      )
      return
    }
    if error.isDiskFull {
      store.local.space.report(error)
      blob.serveWithoutKeeping(runs, error)
    } else {
      blob.warn(runs, error)
    }
    // A reader that started to wait in the meantime is served in the same way, by a request of its own.
    let sparesReaders = error.isDiskFull && blob.mayServePartial
    blob.handle(.flightFailed(runs, error, sparesReaders: sparesReaders))
  }
}
