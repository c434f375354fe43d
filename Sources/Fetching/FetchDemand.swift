import BlobCache
import Content

/// Decides which blocks of one blob are fetched: for readers, ahead of them, by a profile, and to complete
/// the blob.
///
/// Pure: the blob knows which blocks are present; the caller sends the requests.
struct FetchDemand: Sendable {
  typealias Purpose = FlightQueue.Purpose

  /// The blocks of all flights.
  var table = FetchTable()
  var formats: FileFormats
  /// The window ahead of one reader in bytes, from the last measurement of the endpoint.
  var windowSize = ReadWindow.first
  /// Whether fetching ahead has failed: only readers start requests then.
  var isFillPaused = false
  /// Whether the disk can hold the complete blob, if other blobs are evicted.
  var mayFill = true
  /// Schedules the second request beside a slow one.
  var hedge = Hedge()
  /// Whether bytes after a model file's header were read: the blob may be completed in the background.
  private(set) var isContentRead = false
  /// The last read that is content unless it is in a header that is not parsed yet.
  private var undecided: Int64?
  private var window: ReadWindow
  /// The runs that an earlier start read, in order, and the index of the first run that is not fetched yet.
  private var profile: [Range<Int>] = []
  private var profileIndex = 0

  private let size: Int64

  init(size: Int64) {
    self.size = size
    window = ReadWindow(blobSize: size)
    formats = FileFormats(blobSize: size)
  }

  // MARK: Windows

  /// Sets the window ahead of one reader: what the endpoint delivers in time, within the budget of all
  /// readers.
  ///
  /// - Parameters:
  ///   - linkWindow: The number of bytes in flight that the endpoint needs.
  ///   - budget: The number of bytes for all readers of the blob.
  mutating func measureWindow(linkWindow: Int64, budget: Int64) {
    let share = budget / Int64(max(1, window.streamCount))
    windowSize = max(ReadWindow.first, min(share, max(linkWindow, ReadWindow.largest)))
  }

  /// Returns the window of a read.
  mutating func window(ahead range: Range<Int64>) -> Range<Int64> {
    if !isContentRead { judge(range.lowerBound) }
    let (region, first) = formats.region(at: range.lowerBound)
    let (end, _) = formats.region(at: range.upperBound - 1)
    return window.advance(range, in: region, endingIn: end, first: first, limit: windowSize)
  }

  private mutating func judge(_ offset: Int64) {
    let isHeader = formats.isHeader(at: offset)
    if isHeader == false { isContentRead = true }
    if isHeader == nil { undecided = max(undecided ?? 0, offset) }
  }

  /// Takes the result of parsing the beginning of a file.
  ///
  /// - Parameters:
  ///   - finding: The result; nil if the bytes could not be read.
  ///   - index: The index of the file in `formats`.
  ///   - count: The number of bytes that were read.
  /// - Returns: Whether an earlier read turned out to be of content, so that the blob may be completed.
  mutating func note(_ finding: TensorLayout.Finding?, of index: Int, count: Int64) -> Bool {
    formats.note(finding, of: index, count: count)
    guard !isContentRead, let offset = undecided else { return false }
    undecided = nil
    judge(offset)
    return isContentRead
  }

  /// Returns the window of a read whose bytes are present, or nil if nothing must be requested.
  mutating func lack<Reply, Partial, File>(
    ahead range: Range<Int64>,
    _ state: BlobState<Reply, Partial, File>,
    _ blob: Partial,
    isIdle: Bool
  ) -> Range<Int64>? {
    let wasContentRead = isContentRead
    let ahead = window(ahead: range)
    // Without a request in flight, no completion of one continues with the blob.
    guard wasContentRead == isContentRead, !isIdle else { return ahead }
    let blocks = BlockMap.blocks(touching: state.aligned(ahead), size: size)
    return table.uncovered(blob.missing(in: blocks)).isEmpty ? nil : ahead
  }

  // MARK: Requests

  /// The requests that fulfil a fetch request, and the flights that it affects.
  struct Plan: Sendable {
    struct Request: Sendable {
      let identifier: UInt64
      let purpose: Purpose
    }

    /// The requests to send; they are already in the table.
    var requests: [Request] = []
    /// The requests that lost all their blocks before they were sent.
    var emptied: [UInt64] = []
    /// The flights that fetch bytes that a reader waits for, and the first such block of each.
    var urgent: [(identifier: UInt64, block: Int)] = []
    /// The requests that became as urgent as a reader's.
    var promoted: [UInt64] = []
  }

  /// Plans requests for the blocks of a fetch request that are absent and not in flight, and adds them to the
  /// table.
  ///
  /// - Parameters:
  ///   - request: The bytes and their urgency.
  ///   - part: The maximum size of one request in blocks.
  ///   - isStreaming: Whether the source sends all bytes in one stream, which is in flight.
  ///   - state: The state of the blob.
  ///   - blob: The partial blob.
  ///   - now: The current time.
  ///   - makeIdentifier: Returns an unused identifier of a flight.
  mutating func plan<Reply, Partial, File>(
    _ request: FetchRequest,
    part: Int,
    isStreaming: Bool,
    _ state: BlobState<Reply, Partial, File>,
    _ blob: Partial,
    now: ContinuousClock.Instant,
    makeIdentifier: () -> UInt64
  ) -> Plan {
    var plan = Plan()
    let blocks = BlockMap.blocks(touching: state.aligned(request.range), size: size)
    // Dropped blocks are still in the table as part of the flight that delivered them.
    if request.wantsNewConnection { table.relinquish(blocks) }
    let needed = request.need.map { BlockMap.blocks(touching: state.aligned($0), size: size) } ?? 0..<0
    let missing = state.permitted(blob.missing(in: blocks), now: now)
    hurry(missing.compactMap { $0.overlaps(needed) ? $0.clamped(to: needed) : nil }, &plan)
    if request.wantsNewConnection || !isStreaming {
      // Bytes that a reader waits for are at the start of a request.
      let runs = table.take(missing, for: request.purpose).flatMap { run in
        run.lowerBound < needed.lowerBound && needed.lowerBound < run.upperBound
          ? [run.lowerBound..<needed.lowerBound, needed.lowerBound..<run.upperBound] : [run]
      }
      for run in runs {
        for piece in Self.pieces(of: run, part) {
          let purpose = piece.overlaps(needed) ? .demand : request.purpose
          let planned = Plan.Request(identifier: makeIdentifier(), purpose: purpose)
          table.begin(planned.identifier, purpose, piece)
          plan.requests.append(planned)
        }
      }
    }
    plan.emptied = table.removeEmpty()
    return plan
  }

  /// Makes requests more urgent that fetch bytes that a reader waits for.
  private mutating func hurry(_ lacking: [Range<Int>], _ plan: inout Plan) {
    guard !lacking.isEmpty else { return }
    _ = table.take(lacking, for: .demand)
    for identifier in table.started(bringing: lacking) {
      let theirs = table.blocks(of: identifier)
      let first = lacking.flatMap { run in
        theirs.filter { $0.overlaps(run) }.map { $0.clamped(to: run).lowerBound }
      }
      if let block = first.min() { plan.urgent.append((identifier, block)) }
    }
    plan.promoted = table.promote(bringing: lacking, to: .demand)
  }

  // The number of blocks that are written to the disk at once.
  private static let stagedBlocks = Int(BlobIngest.pieceSize / BlockMap.blockSize)

  /// Splits a run into requests; each but the last ends at a boundary of writes, so that no two share a
  /// write.
  static func pieces(of run: Range<Int>, _ part: Int) -> [Range<Int>] {
    var pieces: [Range<Int>] = []
    var first = run.lowerBound
    while first < run.upperBound {
      var end = run.upperBound
      if first + part < end {
        let border = (first + part) / stagedBlocks * stagedBlocks
        end = border > first ? border : first + part
      }
      pieces.append(first..<end)
      first = end
    }
    return pieces
  }

  // MARK: Completion

  /// Sets the runs of an earlier start, to be fetched in that order.
  mutating func follow(_ runs: [Range<Int>]) { profile = runs }

  /// Returns whether blocks of the profile are absent.
  func lacksProfile(_ blob: some BlockPresence) -> Bool {
    profile.contains { !blob.missing(in: $0).isEmpty }
  }

  /// The limits of fetching that no reader waits for.
  struct Appetite: Sendable {
    /// The number of concurrent requests.
    var requests: Int
    /// The maximum size of one request in blocks.
    var part: Int
    /// Whether the policy completes a blob whose content is read.
    var fillsInBackground: Bool
  }

  /// Returns the next blocks to fetch that no reader waits for, or nil if enough are in flight or none is
  /// absent.
  mutating func nextFill<Reply, Partial, File>(
    _ appetite: Appetite,
    _ state: BlobState<Reply, Partial, File>,
    _ blob: Partial,
    now: ContinuousClock.Instant
  ) -> (blocks: Range<Int>, purpose: Purpose)? {
    guard !isFillPaused else { return nil }
    while profileIndex < profile.count {
      guard table.flightCount(from: .profile) < appetite.requests else { return nil }
      let missing = state.permitted(blob.missing(in: profile[profileIndex]), now: now)
      guard let run = table.uncovered(missing).first else {
        profileIndex += 1
        continue
      }
      return (run.lowerBound..<min(run.upperBound, run.lowerBound + appetite.part), .profile)
    }
    guard state.wantsAllBytes || (appetite.fillsInBackground && mayFill && isContentRead) else { return nil }
    // A reader of verified bytes only waits for all of them.
    let purpose: Purpose =
      state.hasReaderOfAllBytes ? .demand : state.wantsAllBytes ? .window : .background
    guard table.flightCount(from: purpose) < appetite.requests else { return nil }
    var position = 0
    while let run = table.nextUncovered(
      from: position,
      limit: appetite.part,
      { blob.nextMissing(from: $0, limit: $1) }
    ) {
      if let first = state.permitted([run], now: now).first { return (first, purpose) }
      position = run.upperBound
    }
    return nil
  }
}

extension BlobState {
  /// Returns the runs without the chunks that are currently refused.
  func permitted(_ missing: [Range<Int>], now: ContinuousClock.Instant) -> [Range<Int>] {
    guard let chunks else { return missing }
    var result: [Range<Int>] = []
    for run in missing {
      var rest = run
      while let refused = chunks.firstRefused(in: BlockMap.bytes(of: rest, size: size), now: now) {
        let blocks = BlockMap.blocks(touching: chunks.list.range(of: refused), size: size)
        if rest.lowerBound < blocks.lowerBound { result.append(rest.lowerBound..<blocks.lowerBound) }
        rest = min(blocks.upperBound, rest.upperBound)..<rest.upperBound
        if rest.isEmpty { break }
      }
      if !rest.isEmpty { result.append(rest) }
    }
    return result
  }
}
