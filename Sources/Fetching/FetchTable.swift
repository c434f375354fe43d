/// The blocks of a blob that are in flight, and the flights that fetch them.
///
/// Pure: the caller knows which blocks are present.
package struct FetchTable: Sendable {
  package typealias Purpose = FlightQueue.Purpose

  private struct Flight: Sendable {
    var purpose: Purpose
    /// The blocks that the flight fetches.
    var blocks: [Range<Int>]
    /// Whether its request was sent; before that, other flights may take blocks from it.
    var isStarted = false
    /// Whether the flight is about to end; it is then no longer truncated.
    var isEnding = false
  }

  private var flights: [UInt64: Flight] = [:]

  /// Creates an empty table.
  package init() {}

  /// Whether nothing is in flight.
  package var isIdle: Bool { flights.isEmpty }

  /// Returns whether some of the blocks belong to a request that was not sent yet.
  ///
  /// - Parameter blocks: A run of blocks.
  package func isWaiting(_ blocks: Range<Int>) -> Bool {
    flights.values.contains { flight in !flight.isStarted && flight.blocks.contains { $0.overlaps(blocks) } }
  }

  /// Removes blocks from every started flight: they arrived, were dropped, and are requested again.
  ///
  /// - Parameter blocks: Blocks that no flight has claimed.
  package mutating func relinquish(_ blocks: Range<Int>) {
    for (identifier, flight) in flights where flight.isStarted {
      flights[identifier]?.blocks = flight.blocks.flatMap { Self.subtract(blocks, from: $0) }
    }
  }

  /// Whether a request was sent.
  package var hasStartedFlights: Bool { flights.values.contains { $0.isStarted } }

  /// Returns the number of flights with this purpose or a less urgent one, including those not yet sent.
  ///
  /// - Parameter purpose: The most urgent purpose that counts.
  package func flightCount(from purpose: Purpose) -> Int { flights.values.count { $0.purpose >= purpose } }

  /// Returns the parts of missing runs that no flight fetches.
  ///
  /// - Parameter missing: Runs of blocks, in order.
  package func uncovered(_ missing: [Range<Int>]) -> [Range<Int>] {
    var result = missing
    for flight in flights.values {
      for taken in flight.blocks {
        result = result.flatMap { Self.subtract(taken, from: $0) }
      }
    }
    return result
  }

  /// Returns the first run of missing blocks that no flight fetches, or nil if there is none.
  ///
  /// - Parameters:
  ///   - start: The block to start at.
  ///   - limit: The maximum length of the run in blocks.
  ///   - nextMissing: Returns the next run of missing blocks at or after a block, up to a length.
  package func nextUncovered(
    from start: Int,
    limit: Int,
    _ nextMissing: (_ from: Int, _ limit: Int) -> Range<Int>?
  ) -> Range<Int>? {
    var position = start
    while let run = nextMissing(position, limit) {
      var end = run.upperBound
      var first = run.lowerBound
      var isMoved = true
      while isMoved {
        isMoved = false
        for flight in flights.values {
          for taken in flight.blocks where taken.contains(first) {
            first = taken.upperBound
            isMoved = true
          }
        }
      }
      if first >= end {
        position = first
        continue
      }
      for flight in flights.values {
        for taken in flight.blocks where taken.lowerBound > first { end = min(end, taken.lowerBound) }
      }
      return first..<end
    }
    return nil
  }

  /// Takes blocks from less urgent flights that were not sent, then returns the parts that no flight fetches.
  ///
  /// - Parameters:
  ///   - missing: Runs of blocks, in order.
  ///   - purpose: The purpose of the blocks.
  /// - Returns: The parts that no flight fetches, in order.
  package mutating func take(_ missing: [Range<Int>], for purpose: Purpose) -> [Range<Int>] {
    for (identifier, flight) in flights where !flight.isStarted && flight.purpose > purpose {
      var blocks = flight.blocks
      for run in missing {
        blocks = blocks.flatMap { block in
          // A reader that reached its window also takes the following blocks: one request in place of many
          // small ones.
          let isOwnWindow = purpose == .demand && flight.purpose == .window && block.overlaps(run)
          let taken = isOwnWindow ? run.lowerBound..<max(run.upperBound, block.upperBound) : run
          return Self.subtract(taken, from: block)
        }
      }
      // One request is one range: blocks after the first run are planned again.
      flights[identifier]?.blocks = Array(blocks.prefix(1))
    }
    return uncovered(missing)
  }

  /// Takes all blocks from every flight that was not sent, then returns the parts that no flight fetches.
  ///
  /// - Parameter missing: Runs of blocks, in order.
  /// - Returns: The parts that no flight fetches, in order.
  package mutating func takeWaiting(_ missing: [Range<Int>]) -> [Range<Int>] {
    for (identifier, flight) in flights where !flight.isStarted { flights[identifier]?.blocks = [] }
    return uncovered(missing)
  }

  /// Removes and returns the flights that lost all their blocks before they were sent.
  package mutating func removeEmpty() -> [UInt64] {
    let empty = flights.filter { !$0.value.isStarted && $0.value.blocks.isEmpty }.map(\.key)
    for identifier in empty { flights[identifier] = nil }
    return empty
  }

  /// Adds blocks to a flight, which is created if necessary.
  ///
  /// - Parameters:
  ///   - flight: The identifier of the flight.
  ///   - purpose: The purpose of a new flight.
  ///   - blocks: A run that no other flight fetches.
  package mutating func begin(_ flight: UInt64, _ purpose: Purpose, _ blocks: Range<Int>) {
    flights[flight, default: Flight(purpose: purpose, blocks: [])].blocks.append(blocks)
  }

  /// Marks a flight as sent.
  ///
  /// - Parameter flight: The identifier of the flight.
  /// - Returns: The run to fetch; nil if other flights took all blocks.
  package mutating func start(_ flight: UInt64) -> Range<Int>? {
    flights[flight]?.isStarted = true
    return flights[flight]?.blocks.first
  }

  /// Returns the flights that fetch some of these blocks and were sent.
  ///
  /// - Parameter blocks: Runs of blocks, in order.
  package func started(bringing blocks: [Range<Int>]) -> [UInt64] {
    flights.filter { flight in
      flight.value.isStarted
        && flight.value.blocks.contains { taken in blocks.contains { $0.overlaps(taken) } }
    }.map(\.key)
  }

  /// Makes the flights that fetch some of these blocks more urgent.
  ///
  /// - Parameters:
  ///   - blocks: Runs of blocks that are needed now.
  ///   - purpose: The new purpose.
  /// - Returns: The identifiers of all flights that fetch some of the blocks, including those already as
  ///   urgent.
  package mutating func promote(bringing blocks: [Range<Int>], to purpose: Purpose) -> [UInt64] {
    var found: [UInt64] = []
    for (identifier, flight) in flights
    where flight.blocks.contains(where: { taken in blocks.contains { $0.overlaps(taken) } }) {
      if purpose < flight.purpose { flights[identifier]?.purpose = purpose }
      found.append(identifier)
    }
    return found
  }

  /// Truncates a flight.
  ///
  /// - Parameters:
  ///   - flight: The identifier of the flight.
  ///   - block: The first block that the flight no longer fetches.
  /// - Returns: The runs that were removed from the flight.
  package mutating func truncate(_ flight: UInt64, at block: Int) -> [Range<Int>] {
    guard let blocks = flights[flight]?.blocks, flights[flight]?.isEnding == false else { return [] }
    flights[flight]?.blocks = blocks.compactMap { run in
      run.lowerBound < block ? run.lowerBound..<min(run.upperBound, block) : nil
    }
    return blocks.compactMap { $0.upperBound > block ? max($0.lowerBound, block)..<$0.upperBound : nil }
  }

  /// Marks a flight as ending, so that no blocks are taken from it while its claims are released.
  ///
  /// - Parameter flight: The identifier of the flight.
  /// - Returns: Every run of the flight.
  package mutating func prepareToEnd(_ flight: UInt64) -> [Range<Int>] {
    flights[flight]?.isEnding = true
    return flights[flight]?.blocks ?? []
  }

  /// Removes a flight.
  ///
  /// - Parameter flight: The identifier of the flight.
  /// - Returns: Every run of the flight.
  package mutating func end(_ flight: UInt64) -> [Range<Int>] {
    flights.removeValue(forKey: flight)?.blocks ?? []
  }

  /// Removes a run from a flight: another process fetches it.
  ///
  /// - Parameters:
  ///   - run: The run, as it was added.
  ///   - flight: The identifier of the flight.
  package mutating func giveBack(_ run: Range<Int>, of flight: UInt64) {
    flights[flight]?.blocks.removeAll { $0 == run }
  }

  /// Returns the runs of a flight.
  ///
  /// - Parameter flight: The identifier of the flight.
  package func blocks(of flight: UInt64) -> [Range<Int>] { flights[flight]?.blocks ?? [] }

  private static func subtract(_ taken: Range<Int>, from run: Range<Int>) -> [Range<Int>] {
    guard taken.overlaps(run) else { return [run] }
    var parts: [Range<Int>] = []
    if run.lowerBound < taken.lowerBound { parts.append(run.lowerBound..<taken.lowerBound) }
    if taken.upperBound < run.upperBound { parts.append(taken.upperBound..<run.upperBound) }
    return parts
  }
}
