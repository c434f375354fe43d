import BlobCache
import Content
import LocalRegistry
import Locking
import Logging
import OCI

/// One request's life: it waits for its turn, claims its blocks, reserves space, fetches from one source after another,
/// and in the end releases what it did not use.
///
///     launch ── turn ──► claim ── blocks of another process ──► wait, claim again
///                          │
///                          ▼
///                       reserve ──► fetch ──► end: release, tell the waiters, start what is lacking
final class Flight: Sendable {
  let identifier: UInt64
  let control: FlightControl
  private let ingest: BlobIngest
  private let blob: LazyBlob
  private let partial: PartialBlob

  // While another process fetches the same blocks.
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

  /// Runs the flight; its turn has come.
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

  /// The first run that it is to fetch; a reader may take blocks back at any time.
  private var blocks: Range<Int>? {
    blob.state.withLock { $0.demand.table.blocks(of: identifier).first }
  }

  private func fetchBlocks() async throws(ContentError) {
    // Another process may be fetching the same blocks: they are waited for, and fetched here if it fails.
    while let blocks {
      let before = partial.presentBytes
      let claimed = try ingest.claim(blocks)
      if partial.presentBytes != before {
        blob.noteProgress()
        blob.arrived(blocks)
      }
      if let claimed {
        // The blocks behind belong to another process: a waiter for them asks for them again.
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
    // Bytes that were wrong are asked of the next source.
    if control.wantsNewConnection { sources.append(sources.removeFirst()) }
    var last: ContentError?
    for source in sources {
      // It may have been cut before it came to this run, or to this source.
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
  /// - Returns: the part of it that is still to be fetched; nil where others took it.
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
    // Bytes that arrived before the end count, however it ended.
    if ingest.hasStaged {
      try await store.local.space.executor.run { () throws(ContentError) in try self.blob.flush(self.ingest) }
    }
    if let error = control.failure ?? failure { throw error }
    // A stream that was ended because no waiter needs more of it has done its work.
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
    // Claims are released before the table forgets the flight: another one must not claim what this one releases.
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
    // A waiter may need blocks that this flight gave up while it went on with others.
    blob.restart()
    blob.fill()
    store.releaseIfIdle(blob)
  }

  private func tell(_ error: ContentError, _ runs: [Range<Int>]) {
    if control.isHedge, !error.isDiskFull {
      // The waiters get a request of their own.
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
    // A reader that began to wait meanwhile is served in the same way, by a request of its own.
    let sparesReaders = error.isDiskFull && blob.mayServePartial
    blob.handle(.flightFailed(runs, error, sparesReaders: sparesReaders))
  }
}
