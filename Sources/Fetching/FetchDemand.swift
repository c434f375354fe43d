import BlobCache
import Content

/// What is to be fetched of one blob: for readers, ahead of them, by a profile, and to complete it.
///
/// Pure: which blocks are present is asked of the blob, requests are sent by the caller.
struct FetchDemand: Sendable {
  typealias Purpose = FlightQueue.Purpose

  /// The blocks of all requests under way.
  var table = FetchTable()
  var formats: FileFormats
  /// How far ahead of one reader is fetched, bytes, by what was last measured of the link.
  var windowSize = ReadWindow.first
  /// Fetching ahead failed: only readers start a request now.
  var isFillPaused = false
  /// The disk can hold all of the blob, if others are evicted.
  var mayFill = true
  /// When a slow request gets a second one beside it.
  var hedge = Hedge()
  /// Bytes beyond the header of a model file were read: the blob may be completed in the background.
  private(set) var isContentRead = false
  private var window: ReadWindow
  /// Runs that an earlier start read, in its order, and the number of the first that is not fetched yet.
  private var profile: [Range<Int>] = []
  private var profileIndex = 0

  private let size: Int64

  init(size: Int64) {
    self.size = size
    window = ReadWindow(blobSize: size)
    formats = FileFormats(blobSize: size)
  }

  // MARK: Windows

  /// Sets how far ahead of one reader is fetched: what the link delivers in time, within the budget of all readers.
  ///
  /// - Parameters:
  ///   - linkWindow: bytes that the link needs under way.
  ///   - budget: bytes for all readers of the blob.
  mutating func measureWindow(linkWindow: Int64, budget: Int64) {
    let share = budget / Int64(max(1, window.streamCount))
    windowSize = max(ReadWindow.first, min(share, max(linkWindow, ReadWindow.largest)))
  }

  /// The window of a read.
  mutating func window(ahead range: Range<Int64>) -> Range<Int64> {
    if !isContentRead { isContentRead = !formats.isHeader(at: range.lowerBound) }
    let (region, first) = formats.region(at: range.lowerBound)
    let (end, _) = formats.region(at: range.upperBound - 1)
    return window.advance(range, in: region, endingIn: end, first: first, limit: windowSize)
  }

  /// The window of a read whose bytes are present; nil where nothing has to be asked for.
  mutating func lack<Reply, Partial, File>(
    ahead range: Range<Int64>,
    _ state: BlobState<Reply, Partial, File>,
    _ blob: Partial,
    isIdle: Bool
  ) -> Range<Int64>? {
    let wasContentRead = isContentRead
    let ahead = window(ahead: range)
    // While no request is under way, no end of one goes on with the blob.
    guard wasContentRead == isContentRead, !isIdle else { return ahead }
    let blocks = BlockMap.blocks(touching: state.aligned(ahead), size: size)
    return table.uncovered(blob.missing(in: blocks)).isEmpty ? nil : ahead
  }

  // MARK: Requests

  /// One wish: bytes, why, and how.
  struct Wish: Sendable {
    var range: Range<Int64>
    /// The part that a reader waits for; nil for none.
    var need: Range<Int64>?
    /// Of the bytes outside of `need`.
    var purpose: Purpose
    /// Of one request, blocks.
    var part: Int
    /// Connections that were used before are not used, and blocks under way are asked for again.
    var wantsNewConnection = false
    /// The source sends all bytes in one stream, which is under way.
    var isStreaming: Bool
  }

  /// The requests that fulfil a wish, and those under way that it concerns.
  struct Plan: Sendable {
    struct Request: Sendable {
      let identifier: UInt64
      let purpose: Purpose
    }

    /// To be sent; they are in the table.
    var requests: [Request] = []
    /// Requests that lost all their blocks before they were sent.
    var emptied: [UInt64] = []
    /// Requests under way that fetch what a reader waits for, and the first such block of each.
    var urgent: [(identifier: UInt64, block: Int)] = []
    /// Requests that became as urgent as a reader.
    var promoted: [UInt64] = []
  }

  /// Plans requests for the blocks of a wish that are absent and not under way, and enters them in the table.
  mutating func plan<Reply, Partial, File>(
    _ wish: Wish,
    _ state: BlobState<Reply, Partial, File>,
    _ blob: Partial,
    now: ContinuousClock.Instant,
    makeIdentifier: () -> UInt64
  ) -> Plan {
    var plan = Plan()
    let blocks = BlockMap.blocks(touching: state.aligned(wish.range), size: size)
    // Blocks that were dropped are still in the table of the request that delivered them.
    if wish.wantsNewConnection { table.relinquish(blocks) }
    let needed = wish.need.map { BlockMap.blocks(touching: state.aligned($0), size: size) } ?? 0..<0
    let missing = state.permitted(blob.missing(in: blocks), now: now)
    hurry(missing.compactMap { $0.overlaps(needed) ? $0.clamped(to: needed) : nil }, &plan)
    if wish.wantsNewConnection || !wish.isStreaming {
      // A reader's bytes stand at the start of a request.
      let runs = table.take(missing, for: wish.purpose).flatMap { run in
        run.lowerBound < needed.lowerBound && needed.lowerBound < run.upperBound
          ? [run.lowerBound..<needed.lowerBound, needed.lowerBound..<run.upperBound] : [run]
      }
      for run in runs {
        for piece in Self.pieces(of: run, wish.part) {
          let purpose = piece.overlaps(needed) ? .demand : wish.purpose
          let request = Plan.Request(identifier: makeIdentifier(), purpose: purpose)
          table.begin(request.identifier, purpose, piece)
          plan.requests.append(request)
        }
      }
    }
    plan.emptied = table.removeEmpty()
    return plan
  }

  /// Makes requests more urgent that fetch what a reader waits for.
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

  // Blocks that go to the disk in one write.
  private static let stagedBlocks = Int(BlobIngest.pieceSize / BlockMap.blockSize)

  /// A run in requests: each but the last ends at a border of what is written at once, so that no two share a write.
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

  /// Fetches what an earlier start read, in its order.
  mutating func follow(_ runs: [Range<Int>]) { profile = runs }

  /// Whether blocks of the profile are absent.
  func lacksProfile(_ blob: some BlockPresence) -> Bool {
    profile.contains { !blob.missing(in: $0).isEmpty }
  }

  /// How much is fetched that no reader waits for.
  struct Appetite: Sendable {
    /// Requests at once.
    var requests: Int
    /// Of one request, blocks.
    var part: Int
    /// The policy completes a blob whose content is read.
    var fillsInBackground: Bool
  }

  /// The next part of what no reader waits for; nil where enough is under way, or nothing is absent.
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
    // A reader that may only see verified bytes waits for all of them.
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
  /// Runs without the chunks that are not asked for at present.
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
