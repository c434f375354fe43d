import BlobCache
import Fetching
import LocalRegistry
import TestSupport
import Testing

struct ReadWindowTests {
  private let size: Int64 = 1 << 30

  /// Replays reads, and counts the requests and bytes that a fetcher would send for them.
  private func replay(_ reads: [Range<Int64>]) -> (requests: Int, bytes: Int64) {
    var window = ReadWindow(blobSize: size)
    var map = BlockMap(size: size)
    var requests = 0
    for read in reads {
      let missing = map.missing(in: map.blocks(touching: window.advance(read)))
      requests += missing.count
      for run in missing { map.insert(run) }
    }
    return (requests, map.presentBytes)
  }

  /// Simulates a fetcher for a trace: bytes, requests, and reads that had to wait for the start of a request.
  private func replay(
    _ reads: [Range<Int64>],
    size: Int64,
    formats: FileFormats? = nil
  ) -> (waits: Int, requests: Int, bytes: Int64) {
    var window = ReadWindow(blobSize: size)
    var map = BlockMap(size: size)
    var waits = 0
    var requests = 0
    for read in reads {
      if !map.contains(read) { waits += 1 }
      let region = formats?.region(at: read.lowerBound).0
      let end = formats?.region(at: read.upperBound - 1).0
      for run in map.missing(in: map.blocks(touching: window.advance(read, in: region, endingIn: end))) {
        requests += 1
        map.insert(run)
      }
    }
    return (waits, requests, map.presentBytes)
  }

  /// One rank of eight reads its part of each row, as the kernel asks for it: in requests of 128 KiB, two at a time in
  /// either order, and a little behind the end of the part.
  @Test(arguments: [4, 8, 16, 32] as [Int64])
  func aRankThatReadsItsPartOfEachRowFetchesLittleElse(_ row: Int64) {
    let (row, part, request) = (row << 20, row << 17, Int64(128 << 10))
    var reads: [Range<Int64>] = []
    for start in stride(from: row / 4, to: size - row, by: Int64.Stride(row)) {
      var requests: [Range<Int64>] = []
      for first in stride(from: start, to: start + part + request, by: Int64.Stride(request)) {
        requests.append(first..<first + request)
      }
      for index in stride(from: 1, to: requests.count, by: 2) { requests.swapAt(index - 1, index) }
      reads += requests
    }
    let result = replay(reads)
    let wanted = (size / row) * part
    #expect(Double(result.bytes) <= 1.3 * Double(wanted), "\(result.bytes) of \(wanted)")
    #expect(Int64(result.requests) <= 4 * size / row, "\(result.requests) requests")
  }

  /// A reader that goes on behind the run that was expected of it gets its window again.
  @Test func aStrideThatEndsIsReadOn() {
    let (row, part) = (Int64(8 << 20), Int64(1 << 20))
    var reads = (0..<8).map { number in (Int64(number) * row)..<(Int64(number) * row + part) }
    let last = 8 * row
    reads += (0..<64).map { number in (last + Int64(number) * part)..<(last + Int64(number + 1) * part) }
    let result = replay(reads)
    #expect(result.requests <= 40, "the sequential part is fetched in large requests: \(result)")
  }

  @Test func llamaCppWaitsForFewRequestsAndFetchesEachByteOnce() {
    let size: Int64 = 253_113_024
    let result = replay(ReadTraces.llama, size: size)
    #expect(ReadTraces.llama.count == 1984)
    #expect(result.waits <= 6, "\(result)")
    #expect(result.requests <= 40, "\(result)")
    #expect(result.bytes <= size)
  }

  @Test func eightThreadsOfSafetensorsKeepTheirWindows() {
    let size: Int64 = 104_861_032
    let result = replay(ReadTraces.safetensors, size: size)
    // Forty tensors are forty jumps; each may wait once for its start, and a few times more.
    #expect(result.waits <= 160, "\(result)")
    #expect(result.requests <= 400, "\(result)")
    #expect(result.bytes <= size)
  }

  @Test func sequentialReadingWaitsOnce() {
    let reads = stride(from: Int64(0), to: 256 << 20, by: 131_072).map { $0..<$0 + 131_072 }
    let result = replay(reads, size: 256 << 20)
    #expect(result.waits == 1, "\(result)")
  }

  private func region(_ range: Range<Int64>, isWhole: Bool = false) -> ReadWindow.Region {
    ReadWindow.Region(range, isWhole: isWhole)
  }

  @Test func aJumpToATensorOpensAWindowThatEndsWithIt() {
    var window = ReadWindow(blobSize: size)
    let tensor = region(100 << 20..<104 << 20)
    var end = window.advance(100 << 20..<(100 << 20) + 65_536, in: tensor, endingIn: tensor).upperBound
    #expect(end == (100 << 20) + ReadWindow.first)
    for start in stride(from: Int64((100 << 20) + 65_536), to: 104 << 20, by: 65_536) {
      end = window.advance(start..<start + 65_536, in: tensor, endingIn: tensor).upperBound
      #expect(end <= 104 << 20)
    }
    #expect(end == 104 << 20)
    // The kernel reads a little past the end, which must not fetch the next tensor.
    let next = region(104 << 20..<200 << 20)
    end = window.advance(104 << 20..<(104 << 20) + 65_536, in: next, endingIn: next).upperBound
    #expect(end <= (104 << 20) + (256 << 10))
  }

  @Test func whoReadsOnThroughManyTensorsIsNotHeldUpAtEach() {
    let tensors = (0..<64 as Range<Int64>).map { region($0 << 22..<($0 + 1) << 22) }
    var window = ReadWindow(blobSize: 256 << 20)
    var map = BlockMap(size: 256 << 20)
    var waits = 0
    for start in stride(from: Int64(0), to: 256 << 20, by: 65_536) {
      let tensor = tensors[Int(start >> 22)]
      if !map.contains(start..<start + 65_536) { waits += 1 }
      let ahead = window.advance(start..<start + 65_536, in: tensor, endingIn: tensor)
      for run in map.missing(in: map.blocks(touching: ahead)) { map.insert(run) }
    }
    #expect(waits <= 8, "\(waits)")
  }

  @Test func aReadOverTheEdgeOfTwoTensorsFetchesJustItself() {
    var window = ReadWindow(blobSize: size)
    let (left, right) = (region(10 << 20..<20 << 20), region(20 << 20..<30 << 20))
    let read: Range<Int64> = (20 << 20) - 32_768..<(20 << 20) + 32_768
    let ahead = window.advance(read, in: left, endingIn: right)
    #expect(ahead == read)
    // The next read confirms the assumption.
    let next = window.advance((20 << 20) + 32_768..<(20 << 20) + 98_304, in: right, endingIn: right)
    #expect(next.upperBound > (20 << 20) + (1 << 20))
  }

  @Test func theFirstReadAbsorbsTheKernelsReadahead() {
    var window = ReadWindow(blobSize: size)
    #expect(window.advance(0..<4096) == 0..<ReadWindow.first)
    // The window includes the kernel's own readahead.
    #expect(window.advance(0..<131_072).upperBound == ReadWindow.first)
  }

  @Test func sequentialReadsNeedFewGrowingRequests() {
    let reads = stride(from: Int64(0), to: 256 << 20, by: 131_072).map { $0..<$0 + 131_072 }
    let (requests, bytes) = replay(reads)
    #expect(requests < 30)
    #expect(bytes <= (256 << 20) + ReadWindow.largest)
  }

  @Test func aFarSeekFetchesJustWhatWasAskedFor() {
    var window = ReadWindow(blobSize: size)
    _ = window.advance(0..<4096)
    let read: Range<Int64> = (500 << 20)..<(500 << 20) + 4096
    let ahead = window.advance(read)
    #expect(ahead == read)
  }

  @Test(arguments: SeededGenerator.seeds(1...5))
  func readsAtRandomFetchLittle(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let reads = (0..<100).map { _ in
      let start = Int64.random(in: 1..<(size / 4096), using: &generator) * 4096
      return start..<start + 4096
    }
    let (_, bytes) = replay(reads)
    #expect(bytes <= 16 << 20, "seed \(seed)")
  }

  @Test func twoStreamsInOneFileKeepTheirWindows() {
    var reads: [Range<Int64>] = []
    for step in 0..<512 as Range<Int64> {
      reads.append(step * 131_072..<(step + 1) * 131_072)
      reads.append((512 << 20) + step * 131_072..<(512 << 20) + (step + 1) * 131_072)
    }
    #expect(replay(reads).requests < 40)
  }

  @Test func smallStepsBackKeepTheWindow() {
    var window = ReadWindow(blobSize: size)
    for start in stride(from: Int64(0), to: 8 << 20, by: 131_072) {
      _ = window.advance(start..<start + 131_072)
    }
    let before = window.advance(8 << 20..<(8 << 20) + 4096).upperBound
    #expect(window.advance((8 << 20) - 500_000..<(8 << 20) - 400_000).upperBound == before)
  }

  @Test func theWindowEndsWithTheBlob() {
    var window = ReadWindow(blobSize: 100_000)
    #expect(window.advance(0..<10) == 0..<100_000)
    #expect(window.advance(99_999..<100_000).upperBound == 100_000)
  }
}

struct FetchTableTests {
  @Test func aReaderWhoComesToItsWindowTakesTheRestOfItAlong() {
    var table = FetchTable()
    table.begin(1, .window, 10..<50)
    table.begin(2, .background, 50..<90)
    let runs = table.take([20..<22], for: .demand)
    #expect(runs == [20..<22])
    #expect(table.blocks(of: 1) == [10..<20])
    let free = table.uncovered([10..<60])
    #expect(free == [20..<50], "one request fetches everything, in place of many small ones")
    // Of blocks without a reader only the requested ones are fetched.
    let others = table.take([60..<62], for: .demand)
    #expect(others == [60..<62])
    #expect(table.blocks(of: 2) == [50..<60])
  }

  @Test func aRequestUnderWayKeepsItsBlocksUntilItIsCut() {
    var table = FetchTable()
    table.begin(1, .window, 0..<100)
    let first = table.start(1)
    #expect(first == 0..<100)
    let runs = table.take([40..<50], for: .demand)
    #expect(runs.isEmpty)
    let relieved = table.truncate(1, at: 40)
    #expect(relieved == [40..<100])
    let uncovered = table.uncovered([0..<100])
    #expect(uncovered == [40..<100])
    let left = table.prepareToEnd(1)
    #expect(left == [0..<40])
    let late = table.truncate(1, at: 10)
    #expect(late.isEmpty, "it releases its claims already")
  }

  @Test(arguments: SeededGenerator.seeds(1...50))
  func noBlockIsBroughtTwiceAndNobodyIsForgotten(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var table = FetchTable()
    var map = BlockMap(size: 64 * BlockMap.blockSize)
    var flights: [UInt64: [Range<Int>]] = [:]
    var waiters = Waiters<UInt64>()
    var waiting: Set<UInt64> = []
    var answered: Set<UInt64> = []
    var next: UInt64 = 1
    func takeReady() -> [UInt64] {
      let copy = map
      return waiters.take { copy.contains($0.range) }.map(\.reply)
    }
    func land(_ flight: UInt64, partly: Bool) {
      for run in flights[flight] ?? [] {
        let end = partly ? run.lowerBound + run.count / 2 : run.upperBound
        map.insert(run.lowerBound..<end)
      }
    }
    for _ in 0..<200 {
      switch Int.random(in: 0..<3, using: &generator) {
      case 0:
        let first = Int64.random(in: 0..<60, using: &generator) * BlockMap.blockSize
        let range = first..<first + Int64.random(in: 1..<4 * BlockMap.blockSize, using: &generator)
        waiters.add(
          Waiters.Waiter(next, range, needsWhole: false, caller: nil, isReader: true, since: .now)
        )
        waiting.insert(next)
        next += 1
        for run in table.uncovered(map.missing(in: map.blocks(touching: range))) {
          for (other, runs) in flights {
            #expect(!runs.contains { $0.overlaps(run) }, "seed \(seed): \(run) is under way in \(other)")
          }
          table.begin(next, .demand, run)
          flights[next] = [run]
          next += 1
        }
      case 1:
        guard let flight = flights.keys.sorted().randomElement(using: &generator) else { continue }
        land(flight, partly: Bool.random(using: &generator))
        let runs = table.end(flight)
        #expect(runs == flights[flight], "seed \(seed)")
        flights[flight] = nil
        // Blocks that a flight did not deliver are requested again for the waiters.
        for waiter in waiters.all {
          for run in table.uncovered(map.missing(in: map.blocks(touching: waiter.range))) {
            table.begin(next, .demand, run)
            flights[next] = [run]
            next += 1
          }
        }
      default: break
      }
      for waiter in takeReady() {
        #expect(answered.insert(waiter).inserted, "seed \(seed): answered twice")
        waiting.remove(waiter)
      }
    }
    while let flight = flights.keys.min() {
      land(flight, partly: false)
      _ = table.end(flight)
      flights[flight] = nil
    }
    for waiter in takeReady() { waiting.remove(waiter) }
    #expect(waiting.isEmpty, "seed \(seed): \(waiting) wait forever")
    #expect(waiters.isEmpty && table.isIdle, "seed \(seed)")
  }
}
